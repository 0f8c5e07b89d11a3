import type { FastifyInstance } from 'fastify';

/**
 * For a proxy that serves the API below a path, whether it strips the path or passes it on. `Location`, the
 * OpenAPI document and the page at `/` include the path.
 */
export function withoutBasePath(basePath: string): (request: { url?: string | undefined }) => string {
  return ({ url = '/' }) => {
    if (basePath === '' || !url.startsWith(basePath)) return url;
    const rest = url.slice(basePath.length);
    return rest === '' || rest.startsWith('?') ? `/${rest}` : rest.startsWith('/') ? rest : url;
  };
}

/** Puts the path in front of every `Location`, and redirects `/` to the documentation. */
export function useBasePath(app: FastifyInstance, basePath: string): void {
  app.get('/', { schema: { hide: true } }, (_request, reply) => reply.redirect('/docs/', 302));
  if (basePath === '') return;
  app.addHook('onSend', (_request, reply, _payload, done) => {
    const location = reply.getHeader('location');
    if (typeof location === 'string' && location.startsWith('/')) {
      reply.header('location', `${basePath}${location}`);
    }
    done();
  });
}
