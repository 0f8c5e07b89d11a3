import type { FastifyInstance } from 'fastify';
import type { StoreWatch } from '../health/store-watch.ts';

/**
 * Everything below `/v1` needs the store. While it is away, or cannot be written although a request changes
 * something, the answer is 503 with `Retry-After` at once, also for requests already waiting for it. Open
 * event streams stay and continue where they were.
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
        // It was refused while it waited for the database: nobody needs its later result, and its error is
        // not a fault.
        if (running) reply.log = unheard;
        throw error;
      });
    };
  });
}
