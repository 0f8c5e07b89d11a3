import type { FastifyInstance } from 'fastify';
import { Problem } from '../problems.ts';

/**
 * Refuses `Idempotency-Key` where it is not read: a caller that sends one relies on it, and would do the same
 * twice after a lost answer. Routes that read it name it in the schema of their headers.
 */
export function refuseUnreadIdempotencyKeys(app: FastifyInstance): void {
  app.addHook('preValidation', async ({ headers, method, routeOptions }) => {
    if (headers['idempotency-key'] === undefined || method === 'GET' || method === 'HEAD') return;
    const read = routeOptions.schema?.headers as { properties?: Record<string, unknown> } | undefined;
    if (read?.properties?.['idempotency-key'] !== undefined || routeOptions.url === undefined) return;
    throw new Problem('bad-request', 'Idempotency-Key is not read here: leave it out.');
  });
}
