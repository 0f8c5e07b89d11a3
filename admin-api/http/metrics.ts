import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** The metrics of the HTTP API, named in one place. */
export function createHttpMetrics(registry: Registry) {
  const registers = [registry];
  return {
    requestSeconds: new Histogram({
      name: 'pushpoint_admin_http_request_seconds',
      help: 'Time to answer a request, by method, route and status; event streams are not included.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    eventStreams: new Gauge({
      name: 'pushpoint_admin_event_streams',
      help: 'Event streams open.',
      registers,
    }),
    unauthenticatedClosed: new Counter({
      name: 'pushpoint_admin_unauthenticated_connections_closed_total',
      help: 'Connections closed before they showed a token, by reason.',
      labelNames: ['reason'],
      registers,
    }),
    countUnauthenticated(read: () => number) {
      new Gauge({
        name: 'pushpoint_admin_unauthenticated_connections',
        help: 'Connections that have not shown a token yet.',
        registers,
        collect() {
          this.set(read());
        },
      });
    },
    eventStreamsDropped: new Counter({
      name: 'pushpoint_admin_event_streams_dropped_total',
      help: 'Event streams ended by the server because their reader was too slow.',
      registers,
    }),
  };
}

export type HttpMetrics = ReturnType<typeof createHttpMetrics>;

export function useMetrics(app: FastifyInstance, metrics: HttpMetrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    if (request.routeOptions.config.endless && reply.statusCode === 200) return done();
    const route = request.is404 ? 'none' : (request.routeOptions.url ?? 'none');
    metrics.requestSeconds.observe(
      { method: request.method, route, status: reply.statusCode },
      reply.elapsedTime / 1000,
    );
    done();
  });
}
