import { Type } from 'typebox';
import { type App, operation } from '../operation.ts';
import { Time } from '../schemas/common.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Health';

const report = {
  ok: Type.Boolean(),
  since: Time('Since when this has been so.'),
  reason: Type.Optional(Type.String({ description: 'Why it is missing.' })),
};
const Report = Type.Object({
  ...report,
  parts: Type.Optional(
    Type.Array(Type.Object({ name: Type.String(), server: Type.String(), ...report }), {
      description: 'Its parts: those of the bus are its connections.',
    }),
  ),
  warnings: Type.Optional(
    Type.Array(Type.String(), { description: 'What should be changed although it works.' }),
  ),
});
const Dependencies = Type.Record(Type.String(), Report, {
  description:
    'What the server needs: `store`; `bus`; `directory`, by which gateways admit devices; and ' +
    '`canary`, the way to the gateways and back. `fleet` only warns.',
});
const Readiness = Type.Object({
  ready: Type.Boolean(),
  since: Time('Since when it has been so.'),
  dependencies: Dependencies,
});
const Liveness = Type.Object({
  live: Type.Boolean(),
  loops: Type.Record(Type.String(), Report, {
    description: 'Loops of the server; a loop that is not `ok` is stuck.',
  }),
  dependencies: Dependencies,
});

/** Open to anybody, so they only report what is already known. */
export function healthRoutes(app: App, { health, registry }: HttpServices): void {
  app.get(
    '/live',
    operation({
      access: 'open',
      operationId: 'live',
      tag,
      summary: 'Check whether the process works, whatever it depends on',
      answers: {
        200: { description: 'It works.', schema: Liveness },
        503: { description: 'A loop is stuck: restart the program.', schema: Liveness },
      },
    }),
    async (_request, reply) => {
      const liveness = health.liveness();
      return reply.code(liveness.live ? 200 : 503).send(liveness);
    },
  );

  app.get(
    '/ready',
    operation({
      access: 'open',
      operationId: 'ready',
      tag,
      summary: 'Check whether everything it depends on is available',
      answers: {
        200: { description: 'Everything is available.', schema: Readiness },
        503: { description: 'Something is missing: what, and since when.', schema: Readiness },
      },
    }),
    async (_request, reply) => {
      const readiness = health.readiness();
      if (!readiness.ready) reply.header('retry-after', 5);
      return reply.code(readiness.ready ? 200 : 503).send(readiness);
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
          description: 'Metrics in the text format of Prometheus.',
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
