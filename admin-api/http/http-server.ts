import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { MIN_TLS, readTlsFiles, type TlsFiles } from '../../bus/tls/certificate.ts';
import { Problem } from '../problems.ts';
import { Authenticator, useAuth } from './auth.ts';
import { useBasePath, withoutBasePath } from './base-path.ts';
import { useDevicePages } from './device-pages.ts';
import { FailedAttempts } from './failed-attempts.ts';
import { acceptJsonOnly } from './json-body.ts';
import { createHttpMetrics, useMetrics } from './metrics.ts';
import { serveOpenApi, useOpenApi } from './openapi.ts';
import type { App } from './operation.ts';
import { answerWithoutRequest, RETRY_AFTER_S, sendProblem, useProblemDetails } from './problem-details.ts';
import { answerRequestIds, requestIds } from './request-ids.ts';
import { authorityRoutes } from './routes/authority.ts';
import { commandRoutes } from './routes/commands.ts';
import { deviceRoutes } from './routes/devices.ts';
import { enrolmentRoutes } from './routes/enrolment.ts';
import { eventRoutes } from './routes/events.ts';
import { gatewayRoutes } from './routes/gateways.ts';
import { groupRoutes } from './routes/groups.ts';
import { healthRoutes } from './routes/health.ts';
import { joinRoutes } from './routes/joins.ts';
import { keysRoutes } from './routes/keys.ts';
import { serverRoutes } from './routes/servers.ts';
import { statusRoutes } from './routes/status.ts';
import { tokenRoutes } from './routes/tokens.ts';
import { tunnelRoutes } from './routes/tunnels.ts';
import type { HttpOptions, HttpServices } from './services.ts';
import { EventStreams } from './sse.ts';
import { useStoreGuard } from './store-guard.ts';
import { limitUnauthenticated } from './unauthenticated-connections.ts';
import { refuseUnreadHeaders } from './unread-headers.ts';
import { createValidatorCompiler } from './validation.ts';

const MIB = 1024 * 1024;
/**
 * All connections, event streams included: far more than operators need, and fewer than the file descriptors.
 */
const CONNECTIONS_MAX = 10_000;

/**
 * The HTTP API, ready to `listen`. `close` ends event streams, refuses new requests, waits for running ones
 * until the deadline, and cuts the rest.
 */
export async function createHttpServer(
  services: HttpServices,
  options: HttpOptions,
): Promise<FastifyInstance> {
  const app = await createFastify(services, options);
  app.setValidatorCompiler(createValidatorCompiler({ atOnce: options.compileAtOnce ?? false }));
  // Presenters name every member; tests check the answers against their schemas.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  acceptJsonOnly(app);
  // Comes before anything that refuses, so that a page of an allowed origin can read the refusal.
  useDevicePages(app as unknown as FastifyInstance, options.allowedOrigins ?? []);
  useProblemDetails(app as unknown as FastifyInstance);
  const metrics = createHttpMetrics(services.registry);
  useMetrics(app as unknown as FastifyInstance, metrics);
  answerRequestIds(app as unknown as FastifyInstance);
  useSecurityHeaders(app);
  const { tokenCacheMs: cacheMs = 2000 } = options;
  const { store, storeWatch, now, log } = services;
  useStoreGuard(app as unknown as FastifyInstance, storeWatch);
  const authenticator = new Authenticator({ tokens: store.apiTokens, now, log, cacheMs });
  useAuth(app as unknown as FastifyInstance, authenticator, storeWatch);
  limitUnauthenticated(app as unknown as FastifyInstance, metrics, {
    proxies: options.trustProxy,
    limit: options.maxUnauthenticated,
  });
  const streams = new EventStreams({
    events: store.events,
    source: services.events,
    metrics,
    log,
    maxStreams: options.maxEventStreams ?? 200,
    bufferBytes: options.eventBufferBytes ?? MIB,
    pingMs: options.eventPingMs ?? 10_000,
  });
  useDeadline(app, streams, options.closeDeadlineMs ?? 5000);

  refuseUnreadHeaders(app as unknown as FastifyInstance);
  useBasePath(app as unknown as FastifyInstance, options.basePath ?? '');

  await useOpenApi(app, options.version, options.basePath);
  commandRoutes(app, services);
  deviceRoutes(app, services);
  tunnelRoutes(app, services);
  groupRoutes(app, services);
  enrolmentRoutes(app, services, new FailedAttempts(options.failedEnrolmentsPerMinute ?? 30, now));
  gatewayRoutes(app, services);
  joinRoutes(app, services);
  serverRoutes(app, services);
  authorityRoutes(app, services);
  eventRoutes(app, streams, authenticator);
  statusRoutes(app, services, options);
  tokenRoutes(app, services);
  keysRoutes(app, services);
  healthRoutes(app, services);
  serveOpenApi(app);
  await app.ready();
  return app as unknown as FastifyInstance;
}

/**
 * New connections get the certificate that is now in the files. Throws, and changes nothing, when it is not
 * usable.
 */
export function reloadTls(http: FastifyInstance, files: TlsFiles): void {
  const pair = readTlsFiles(files);
  (http.server as unknown as TlsServer).setSecureContext({ ...pair, ...MIN_TLS });
}

async function createFastify(services: HttpServices, options: HttpOptions): Promise<App> {
  const { tls } = options;
  const log: FastifyBaseLogger = services.log.child({ part: 'http' });
  const https = tls && { ...readTlsFiles(tls), ...MIN_TLS };
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // Log lines of a request carry its id: a logger per request would cost a third of its authentication.
    childLoggerFactory: (logger) => logger,
    bodyLimit: options.bodyLimitBytes ?? MIB,
    requestTimeout: 30_000,
    keepAliveTimeout: 72_000,
    genReqId: requestIds(),
    rewriteUrl: withoutBasePath(options.basePath ?? ''),
    trustProxy: options.trustProxy ?? false,
    frameworkErrors: (error, request, reply) => {
      sendProblem(request, reply, error);
    },
    clientErrorHandler: answerWithoutRequest,
    // Fastify's own answer has no Retry-After; ours does.
    return503OnClosing: false,
    https: https ?? null,
  });
  app.server.maxConnections = CONNECTIONS_MAX;
  return app as unknown as App;
}

function useSecurityHeaders(app: App): void {
  app.addHook('onSend', (request, reply, _payload, done) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('referrer-policy', 'no-referrer');
    reply.header('x-frame-options', 'DENY');
    if (request.url.startsWith('/v1')) reply.header('cache-control', 'no-store');
    done();
  });
}

function useDeadline(app: App, streams: EventStreams, deadlineMs: number): void {
  // Clients open some connections in advance. The server does not count them as idle, so closing would wait
  // for them.
  const unused = new Set<Socket>();
  const opened = app.server instanceof TlsServer ? 'secureConnection' : 'connection';
  app.server.on(opened, (socket: Socket) => {
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  app.server.on('request', ({ socket }) => unused.delete(socket));
  // A TLS server's list of connections misses those whose handshake is not complete.
  const all = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    all.add(socket);
    socket.once('close', () => all.delete(socket));
  });
  let stopping = false;
  app.addHook('onRequest', (_request, _reply, done) => {
    done(stopping ? new Problem('unavailable', 'The server is stopping.', RETRY_AFTER_S) : undefined);
  });
  app.addHook('preClose', (done) => {
    stopping = true;
    streams.stop();
    for (const socket of unused) socket.destroy();
    const cut = setTimeout(() => {
      for (const socket of all) socket.destroy();
    }, deadlineMs);
    app.server.once('close', () => clearTimeout(cut));
    done();
  });
}
