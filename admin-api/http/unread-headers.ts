import type { FastifyInstance } from 'fastify';
import { Problem } from '../problems.ts';

const NAMES = [
  ['idempotency-key', 'Idempotency-Key'],
  ['if-match', 'If-Match'],
] as const;

/**
 * Refuses `Idempotency-Key` and `If-Match` on operations that change something and do not read them: a caller
 * that sends one relies on it, and could otherwise do something twice or overwrite a newer state. Routes that
 * read one declare it in the schema of their headers.
 */
export function refuseUnreadHeaders(app: FastifyInstance): void {
  app.addHook('preValidation', ({ headers, method, routeOptions }, _reply, done) => {
    if (method === 'GET' || method === 'HEAD' || routeOptions.url === undefined) return done();
    const read = routeOptions.schema?.headers as { properties?: Record<string, unknown> } | undefined;
    for (const [name, title] of NAMES) {
      if (headers[name] === undefined || read?.properties?.[name] !== undefined) continue;
      return done(new Problem('bad-request', `${title} is not read here: leave it out.`));
    }
    done();
  });
}
