import { Type } from 'typebox';
import { type App, operation } from '../operation.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Health';
const CHECK_MS = 1000;
const CHECK_DEADLINE_MS = 2000;

const Health = Type.Object({ ok: Type.Boolean() });
const Readiness = Type.Object({ ready: Type.Boolean(), store: Type.Boolean(), bus: Type.Boolean() });

/** Open to anybody, so what they cost is bounded: the store is asked at most once a second. */
export function healthRoutes(app: App, { store, bus, registry, now, log }: HttpServices): void {
  let checkedAt = Number.NEGATIVE_INFINITY;
  let check: Promise<boolean> = Promise.resolve(false);
  const storeAnswers = () => {
    if (now() - checkedAt >= CHECK_MS) {
      checkedAt = now();
      check = within(store.events.bounds(), CHECK_DEADLINE_MS).then(
        () => true,
        (error) => {
          log.warn({ err: error }, 'the store does not answer');
          return false;
        },
      );
    }
    return check;
  };

  app.get(
    '/live',
    operation({
      access: 'open',
      operationId: 'live',
      tag,
      summary: 'Say whether the process answers',
      answers: { 200: { description: 'It does.', schema: Health } },
    }),
    async () => ({ ok: true }),
  );

  app.get(
    '/ready',
    operation({
      access: 'open',
      operationId: 'ready',
      tag,
      summary: 'Say whether store and bus can be reached',
      answers: {
        200: { description: 'Both can.', schema: Readiness },
        503: { description: 'One cannot.', schema: Readiness },
      },
    }),
    async (_request, reply) => {
      const body = { store: await storeAnswers(), bus: bus.status().available };
      const ready = body.store && body.bus;
      if (!ready) reply.header('retry-after', 5);
      return reply.code(ready ? 200 : 503).send({ ready, ...body });
    },
  );

  app.get(
    '/metrics',
    operation({
      access: 'open',
      operationId: 'metrics',
      tag,
      summary: 'Read metrics',
      answers: {
        200: {
          description: 'In the text format of Prometheus.',
          mediaType: 'text/plain',
          schema: Type.String(),
        },
      },
    }),
    async (_request, reply) =>
      reply
        .type(registry.contentType)
        .serializer(String)
        .send(await registry.metrics()),
  );
}

async function within<T>(work: Promise<T>, deadlineMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
