import { Type } from 'typebox';
import type { Authenticator } from '../auth.ts';
import { type App, operation } from '../operation.ts';
import { toProblem } from '../problem-details.ts';
import { EventHeaders, EventQuery } from '../schemas/events.ts';
import type { EventStreams } from '../sse.ts';

export function eventRoutes(app: App, streams: EventStreams, authenticator: Authenticator): void {
  const spec = operation({
    access: 'viewer',
    operationId: 'streamEvents',
    tag: 'Events',
    summary: 'Follow changes',
    description: `Server-sent events: \`id\` is the event's number, \`event\` its type, \`data\` JSON;
each type
has its own schema. Reconnecting with \`Last-Event-ID\` continues without gap or repetition. If the
events after
that number are no longer stored, the first event is \`reset\`: read again the state that you derive from
events. A comment arrives every 10 s.`,
    querystring: EventQuery,
    headers: EventHeaders,
    answers: {
      200: {
        description: 'The stream.',
        mediaType: 'text/event-stream',
        schema: Type.Unsafe({ $ref: 'Event#' }),
      },
    },
  });
  app.get(
    '/v1/events',
    { ...spec, config: { ...spec.config, endless: true }, exposeHeadRoute: false },
    async (request, reply) => {
      const { after, since, type, command } = request.query;
      const lastSeen = request.headers['last-event-id'];
      const { authorization } = request.headers;
      await streams.open(reply.raw, {
        after: lastSeen === undefined ? after : Number(lastSeen),
        since: since === undefined ? undefined : Date.parse(since),
        filter: { type, command },
        mayRead: async () => {
          try {
            await authenticator.authenticate(authorization);
            return true;
          } catch (error) {
            return toProblem(error).code !== 'unauthorized';
          }
        },
      });
      reply.hijack();
    },
  );
}
