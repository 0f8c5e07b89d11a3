/**
 * One worker of a gateway: a whole push server in one process, with its own lease, outbox and sessions. It
 * shares nothing with its siblings but, perhaps, a port. This file starts and stops its parts in order.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type MetricObjectWithValues, type MetricValue, Registry } from 'prom-client';
import type { Bus } from '../bus/bus.ts';
import { Certificates } from '../bus/tls/certificates.ts';
import { composeWorker } from './compose.ts';
import type { GatewayConfig } from './config.ts';
import { HealthServer, type Liveness, type Readiness, registryMetrics } from './health.ts';
import { freePort } from './listen/port-probe.ts';
import { observe } from './observe.ts';
import type { Siblings, WorkerParts } from './worker-parts.ts';
import type { WorkerState } from './worker-status.ts';

export interface GatewayWorkerParts {
  config: Readonly<GatewayConfig>;
  /** The caller starts it before the worker and stops it after the worker. */
  bus: Bus;
  log: Logger;
  /** Takes the worker's metrics; a registry of its own when absent. One registry serves one worker. */
  registry?: Registry;
  /** Version of the program, for the lease. */
  version?: string;
  /** The certificates of the process; the worker adds the push server's. Its own set when absent. */
  certificates?: Certificates;
  /**
   * The installation's fingerprint: SHA-256 of its root key, 32 bytes. The worker admits nobody until it has
   * read the server keys in that root's chain. Absent: it trusts the bus with memberships and keys.
   */
  fingerprint?: Uint8Array;
  /** For a worker that shares the port with siblings. */
  siblings?: Siblings;
}

export interface StopOptions {
  /** Time the stop may take, milliseconds; 10 s when absent. */
  deadlineMs?: number;
  /**
   * Whether refused clients are told of other gateways meanwhile: not while siblings still serve. True when
   * absent.
   */
  refuse?: boolean;
}

/** Time for closing handshakes in flight before the sockets are cut. */
const CLOSING_GRACE_MS = 100;

export class GatewayWorker {
  readonly name: string;
  readonly #parts: WorkerParts;
  readonly #registry: Registry;
  readonly #health: HealthServer;
  readonly #unwatch: () => void;
  #starting: Promise<void> | null = null;
  #stopping: Promise<void> | null = null;

  /** Throws when the TLS files are not usable. */
  constructor({
    config,
    bus,
    log,
    registry = new Registry(),
    version = 'unknown',
    certificates = new Certificates(log),
    fingerprint,
    siblings,
  }: GatewayWorkerParts) {
    this.#unwatch = watchTls(config, certificates, () => this.#parts.server.reloadTls());
    this.#parts = composeWorker({
      ...{ config, bus, log, version, certificates },
      fingerprint: fingerprint ?? null,
      siblings: siblings ?? null,
    });
    this.name = this.#parts.worker;
    this.#registry = registry;
    observe(this.#parts, registry);
    this.#health = new HealthServer({
      readiness: () => this.readiness(),
      liveness: () => this.liveness(),
      metrics: () => registryMetrics(registry),
    });
  }

  /** The port devices connect to. */
  get port(): number {
    return this.#parts.server.port;
  }

  /** The port of health and metrics; 0 when there is none. */
  get metricsPort(): number {
    return this.#health.port;
  }

  /** Devices connected. */
  get sessions(): number {
    return this.#parts.connections.devices;
  }

  /**
   * Resolves once the worker listens. If the bus is unreachable it listens, admits nobody, and keeps trying.
   * Rejects with `PortUnavailable`, or if the port of health and metrics is taken; everything is then stopped
   * again.
   */
  async start(): Promise<void> {
    if (this.#starting) throw new Error('a worker starts once');
    this.#starting = this.#start();
    try {
      await this.#starting;
    } catch (error) {
      await this.stop({ deadlineMs: 1_000 });
      throw error;
    }
  }

  /** Ends at the next step once the worker stops; `stop` waits for it. */
  async #start(): Promise<void> {
    if (this.#stopping) return;
    const { metricsPort, metricsHost } = this.#parts.config;
    if (metricsPort !== null) await this.#health.start(metricsPort, metricsHost);
    if (this.#stopping) return;
    await this.#takeRealPort();
    if (this.#stopping) return;
    await this.#parts.watcher.start();
    if (this.#stopping) return;
    await this.#parts.keeper.start();
    if (this.#stopping) return;
    this.#parts.heard.start();
    this.#parts.ticker.start();
    this.#parts.loops.start();
    this.#parts.roundTrips.start();
    await this.#parts.tunnels.start();
    if (this.#stopping) return;
    await this.#parts.follower.start();
    if (this.#stopping) return;
    this.#parts.canary?.start();
    this.#parts.log.info({ port: this.port, metricsPort: this.metricsPort }, 'gateway worker started');
  }

  /**
   * Stops in order: it refuses new devices, sends its devices away at a limited rate, appends their last
   * receipts, releases presence and then the lease, and closes the sockets. Idempotent.
   */
  stop({ deadlineMs = 10_000, refuse = true }: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(Date.now() + deadlineMs, refuse);
    return this.#stopping;
  }

  /**
   * Whether all siblings are full: if this worker is full as well, it then listens only to name other
   * gateways.
   */
  setSiblingsFull(full: boolean): void {
    this.#parts.listener.setSiblingsFull(full);
  }

  state(): WorkerState {
    return this.#parts.status.state();
  }

  /** All metrics, in the form that prom-client aggregates. */
  metricsJson(): Promise<MetricObjectWithValues<MetricValue<string>>[]> {
    return this.#registry.getMetricsAsJSON();
  }

  /** What `/ready` answers. */
  readiness(): Readiness {
    return this.#parts.status.readiness();
  }

  /** What `/live` answers. */
  liveness(): Liveness {
    return this.#parts.status.liveness();
  }

  async #stop(deadline: number, refuse: boolean): Promise<void> {
    this.#parts.log.info({ sessions: this.sessions }, 'gateway worker stops');
    this.#parts.status.stop(refuse ? 'refusing' : 'closed');
    const started = this.#starting?.catch(() => undefined) ?? Promise.resolve();
    await this.#within(deadline, started, 'start');
    void this.#parts.listener.apply();
    this.#parts.follower.stop();
    await this.#within(deadline, this.#parts.watcher.stop(), 'settings');
    this.#parts.canary?.stop();
    const hadConnections = this.#parts.connections.count > 0 || this.#parts.tunnels.relay.legs > 0;
    const tunnelsLeft = this.#parts.tunnels.leave(deadline);
    await this.#within(deadline, this.#parts.draining.stop(deadline), 'devices');
    await this.#within(deadline, tunnelsLeft, 'tunnels');
    this.#parts.listener.close();
    this.#parts.roundTrips.stop();
    await this.#within(deadline, this.#parts.admission.settled(), 'admission');
    this.#parts.ticker.stop();
    this.#parts.loops.stop();
    await this.#within(deadline, this.#parts.leaseWork.stop(), 'outbox');
    const allHeard = await this.#parts.spool.flush(deadline);
    if (!allHeard) {
      this.#parts.log.warn(
        { receipts: this.#parts.spool.size },
        'receipts not appended: devices will repeat them',
      );
    }
    this.#parts.spool.stop();
    await this.#within(deadline, this.#parts.heard.stop(), 'heard reports');
    await this.#within(deadline, this.#parts.releases.flush(), 'presence');
    this.#parts.releases.stop();
    await this.#within(deadline, this.#parts.keeper.stop(allHeard), 'lease');
    if (hadConnections) await pause(Math.min(CLOSING_GRACE_MS, Math.max(0, deadline - Date.now())));
    this.#parts.server.close();
    this.#unwatch();
    await this.#health.stop();
    this.#parts.log.info('gateway worker stopped');
  }

  /** Waits for `work` until `deadline`, and at least for a moment. */
  async #within(deadline: number, work: Promise<unknown>, what: string): Promise<void> {
    const abort = new AbortController();
    const tooLate = pause(Math.max(50, deadline - Date.now()), true, { signal: abort.signal }).catch(
      () => false,
    );
    const late = await Promise.race([work.then(() => false), tooLate]);
    abort.abort();
    if (late) this.#parts.log.warn({ part: what }, 'did not stop in time');
  }

  /** Replaces port 0 of the initial settings by a free port. */
  async #takeRealPort(): Promise<void> {
    const { initial, host } = this.#parts.config;
    if (initial.port !== 0) return;
    const port = await freePort(host);
    const address = initial.address.replace(/:0(?=\/|$)/, `:${port}`);
    this.#parts.gateways.begin({ ...initial, port, address });
  }
}

function watchTls({ tls }: GatewayConfig, certificates: Certificates, take: () => void): () => void {
  if (!tls) return () => {};
  const { certFile, keyFile } = tls;
  return certificates.watch({ name: 'gateway', files: [certFile, keyFile], certFile, take });
}
