import type { FastifyInstance } from 'fastify';
import type { StoreWatch } from '../health/store-watch.ts';

/**
 * Everything below `/v1` needs the store: while it is away, or does not take what a
 * request would change, that is answered with 503 and `Retry-After` at once, and so is what is
 * waiting for it when it is found away. Event streams that are open stay: they go on where they were.
 */
export function useStoreGuard(app: FastifyInstance, watch: StoreWatch): void {
  const unheard = app.log.child({}, { level: 'silent' });
  app.addHook('onRoute', (route) => {
    if (!route.url.startsWith('/v1') || route.config?.endless) return;
    const { handler } = route;
    route.handler = function (request, reply) {
      const use = request.method === 'GET' || request.method === 'HEAD' ? 'read' : 'write';
      let running = true;
      const work = async () => {
        try {
          return await handler.call(this, request, reply);
        } finally {
          running = false;
        }
      };
      return watch.guard(use, work).catch((error) => {
        // Refused while it waits for the database: what it says later is for nobody, and no fault of the
        // program.
        if (running) reply.log = unheard;
        throw error;
      });
    };
  });
}
