/**
 * The administration server: starts its parts in the order of their dependencies, and stops them in reverse.
 * Several may run on one database and one bus; all are equal.
 */
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { nanoid } from 'nanoid';
import { Certificates } from '../bus/tls/certificates.ts';
import { type AdminParts, compose, type Given } from './compose.ts';
import { composeHttp } from './compose-http.ts';
import { createHttpServer, reloadTls } from './http/http-server.ts';
import type { HttpServices } from './http/services.ts';
import { observe } from './observe.ts';
import type { AdminConfig } from './settings.ts';

/** The caller starts store and bus before the server, and stops them after it. */
export interface AdminServerParts extends Given {
  config: AdminConfig;
  /** The certificates of the program; the server adds the API's. Its own set when absent. */
  certificates?: Certificates;
  /**
   * Receives the first admin token, which is made if there is no usable one. The server stores it only after
   * this resolves, so it never stores a token that nobody knows.
   */
  keepFirstToken: (token: string) => void | Promise<void>;
  /** Gateways that get a join token at the start; `keep` receives one for each that never joined. */
  firstGateways?: { names: readonly string[]; keep: (gateway: string, token: string) => Promise<void> };
}

interface Running {
  http: FastifyInstance;
  /** In the order in which they stop. */
  stops: (() => Promise<void>)[];
}

export class AdminServer {
  readonly #parts: AdminServerParts;
  readonly #certificates: Certificates;
  #running: Running | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(parts: AdminServerParts) {
    this.#parts = parts;
    this.#certificates = parts.certificates ?? new Certificates(parts.log);
  }

  /** Port of the HTTP API, once started. */
  get port(): number {
    const address = this.#running?.http.server.address() as AddressInfo | null | undefined;
    if (!address) throw new Error('the administration server is not started');
    return address.port;
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { config, log, keepFirstToken } = this.#parts;
    const { host, port, version } = config;
    const parts = await compose(this.#parts);
    const services = composeHttp(parts);
    observe(parts, version, this.#certificates);
    const unwatch = this.#watchTls();
    const http = await createHttpServer(services, httpOptions(config));
    this.#running = { http, stops: [async () => unwatch(), ...stopsOf(parts, services, http)] };
    await startParts(parts);
    await services.tokens.ensureFirst(keepFirstToken);
    await this.#letIn(services);
    await http.listen({ host, port });
    log.info({ host, port: this.port, store: parts.store.kind }, 'administration server started');
  }

  async #letIn({ joins }: HttpServices): Promise<void> {
    const { firstGateways } = this.#parts;
    if (!firstGateways) return;
    for (const { gateway, token } of await joins.firstTokens(firstGateways.names)) {
      await firstGateways.keep(gateway, token);
    }
  }

  #watchTls(): () => void {
    const { tls } = this.#parts.config;
    if (!tls) return () => {};
    return this.#certificates.watch({
      name: 'api',
      files: [tls.certFile, tls.keyFile],
      certFile: tls.certFile,
      take: () => {
        if (this.#running) reloadTls(this.#running.http, tls);
      },
    });
  }

  /** Idempotent. Work in progress is finished or left for the next start; nothing accepted is lost. */
  async stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    // A part that is stopped before it is started would run on.
    await this.#starting?.catch(() => undefined);
    for (const stop of this.#running?.stops ?? []) {
      await stop().catch((error) =>
        this.#parts.log.warn({ err: error }, 'a part did not stop in an orderly way'),
      );
    }
    this.#parts.log.info('administration server stopped');
  }
}

function httpOptions({ version, tls, trustProxy, basePath, allowedOrigins }: AdminConfig) {
  return {
    version,
    ...(tls && { tls }),
    ...(trustProxy && { trustProxy }),
    ...(basePath && { basePath }),
    ...(allowedOrigins && { allowedOrigins }),
  };
}

async function startParts(parts: AdminParts): Promise<void> {
  await parts.storeWatch.start();
  parts.clocks.start();
  await parts.hub.start();
  await parts.keysKeeper.announce();
  await parts.directory.start();
  await parts.cloned.start();
  parts.keysKeeper.start();
  parts.dispatcher.start();
  await parts.registrar.start();
  await parts.frontier.start();
  await startLeases(parts);
  await parts.fleet.start();
  // Even without workers: those recorded as up may have stopped while no server ran.
  if (parts.leases.known) parts.registrar.workersChanged([], [], parts.leases.list());
  await parts.ingest.start(nanoid());
  parts.overdue.start();
  parts.finalizer.start();
  parts.recheck.start();
  parts.keeper.start();
  parts.balancer.start();
  parts.canaries.start();
  parts.joinAnswers.start();
  parts.loops.start();
}

/** Handles workers that came or went. */
async function startLeases(parts: AdminParts): Promise<void> {
  const { leases, frontier, metrics, directory, overdue, keeper, registrar, log } = parts;
  await leases.start((up, gone) => {
    frontier.saw(leases.list()).catch((error) => log.debug({ err: error }, 'workers not noted yet'));
    metrics.workers.set(leases.list().length);
    directory.gatewaysChangedSoon();
    if (gone.length > 0) {
      overdue.workersGone();
      keeper.lookSoon();
    }
    registrar.workersChanged(up, gone, leases.list());
  });
}

function stopsOf(parts: AdminParts, { groups }: HttpServices, http: FastifyInstance): Running['stops'] {
  return [
    () => http.close(),
    () => groups.stop(),
    () => parts.joinAnswers.stop(),
    () => parts.balancer.stop(),
    () => parts.fleet.stop(),
    () => parts.canaries.stop(),
    () => parts.leases.stop(),
    () => parts.registrar.stop(),
    () => parts.keeper.stop(),
    () => parts.recheck.stop(),
    () => parts.finalizer.stop(),
    () => parts.overdue.stop(),
    () => parts.ingest.stop(),
    () => parts.expander.stop(),
    () => parts.dispatcher.stop(),
    () => parts.cloned.stop(),
    () => parts.keysKeeper.stop(),
    () => parts.directory.stop(),
    () => parts.keysKeeper.leave(),
    () => parts.hub.stop(),
    () => parts.clocks.stop(),
    () => parts.storeWatch.stop(),
    async () => parts.loops.stop(),
  ];
}
