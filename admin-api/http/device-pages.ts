/**
 * Devices that are web pages (CORS, Fetch standard): pages of the allowed origins may call the operations for
 * devices, and nothing else of the API. No cookies are involved: every caller has a token or a key.
 */
import type { FastifyInstance } from 'fastify';

/** The operations for devices (PROTOCOL.md, E-2, G-16). */
const DEVICE_PATHS = new Set(['/v1/enroll', '/v1/locate', '/v1/rotate-key']);
/** How long a browser may cache the permission, seconds. */
const REMEMBER_S = 600;

/**
 * `origins`: such as `https://kiosk.example.net`, or `*` for any origin. Call it before other hooks are
 * added.
 */
export function useDevicePages(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  const allowed = new Set(origins);
  app.addHook('onRequest', (request, reply, done) => {
    const { origin } = request.headers;
    const path = request.url.split('?', 1)[0] ?? '';
    if (!DEVICE_PATHS.has(path)) return done();
    reply.header('vary', 'Origin');
    if (origin === undefined || !(allowed.has(origin) || allowed.has('*'))) return done();
    reply.header('access-control-allow-origin', origin);
    reply.header('access-control-expose-headers', 'Retry-After');
    if (request.method !== 'OPTIONS' || !request.headers['access-control-request-method']) return done();
    reply.header('access-control-allow-methods', 'POST');
    reply.header('access-control-allow-headers', 'Content-Type');
    reply.header('access-control-max-age', String(REMEMBER_S));
    if (request.headers['access-control-request-private-network']) {
      reply.header('access-control-allow-private-network', 'true');
    }
    reply.code(204).send();
  });
}
