import type { FastifyInstance } from 'fastify';
import type { StoreWatch } from '../store-watch.ts';

/**
 * Everything below `/v1` needs the store: while it is away, or does not take what a
 * request would change, that is answered with 503 and `Retry-After` at once, and so is what is
 * waiting for it when it is found away. Event streams that are open stay: they go on where they were.
 */
export function useStoreGuard(app: FastifyInstance, watch: StoreWatch): void {
  app.addHook('onRoute', (route) => {
    if (!route.url.startsWith('/v1') || route.config?.endless) return;
    const { handler } = route;
    route.handler = function (request, reply) {
      const use = request.method === 'GET' || request.method === 'HEAD' ? 'read' : 'write';
      return watch.guard(use, async () => handler.call(this, request, reply));
    };
  });
}
