/**
 * The gateway as a whole: starts its worker processes and restarts those that die, tells them which ports are
 * free and when all of them are full, and combines their health and metrics on one port. It touches no
 * device's connection.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { AggregatorRegistry, Counter, Gauge, Registry } from 'prom-client';
import type { Bus } from '../../bus/bus.ts';
import { registerLogMetrics } from '../../bus/log-metrics.ts';
import { registerProgramMetrics } from '../../bus/program-metrics.ts';
import { Dependency, type DependencyReport, Loops } from '../../health/health.ts';
import type { GatewayConfig } from '../config.ts';
import { HealthServer, type MetricsText, type Readiness } from '../health.ts';
import { freePort } from '../listen/port-probe.ts';
import { PortBroker } from './port-broker.ts';
import { type SlotState, WorkerSlot } from './worker-slot.ts';

export interface SupervisorParts {
  /** Of the program, for people. */
  version?: string;
  /** Configuration of the whole gateway; `workerNumber` has no meaning here. */
  config: Readonly<GatewayConfig>;
  /** Releases the leases of dead workers. Started before the supervisor, stopped after it. */
  bus: Bus;
  /** Starts a process that runs `superviseWorker` with this configuration. */
  fork(config: Readonly<GatewayConfig>): ChildProcess;
  log: Logger;
}

export interface WorkerReport {
  worker: string;
  state: SlotState;
  /** When the state last changed, ISO 8601. */
  since: string;
  /** Whether it can admit new devices. */
  ready: boolean;
  pid?: number;
  /** Processes that died and were replaced. */
  restarts: number;
  /** Port on which it admits new devices. */
  port?: number;
  connections: number;
  full: boolean;
  problem?: string;
  dependencies?: Readiness['dependencies'];
}

/** What `/ready` answers. */
export interface GatewayReadiness {
  /** At least one worker admits new devices. */
  ready: boolean;
  /** When `ready` last changed, ISO 8601. */
  since: string;
  workers: WorkerReport[];
}

/** What `/live` answers. */
export interface GatewayLiveness {
  live: boolean;
  loops: Record<string, DependencyReport>;
  workers: WorkerReport[];
}

/** The pauses between attempts to start a worker are 30 s at most. */
const NO_WORKER_SECONDS = 120;

export class Supervisor {
  readonly #parts: SupervisorParts;
  readonly #health: HealthServer<GatewayReadiness>;
  readonly #broker: PortBroker;
  readonly #registry = new Registry();
  readonly #ready = new Dependency();
  readonly #loops = new Loops(NO_WORKER_SECONDS);
  #slots: WorkerSlot[] = [];
  #initialPort = 0;
  /** Where workers pass tunnel legs to each other. */
  #siblingDir: string | null = null;
  #allFull = false;
  #releases: Promise<void> = Promise.resolve();
  /** All steps before the start of the workers. */
  #preparing: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | null = null;

  constructor(parts: SupervisorParts) {
    this.#parts = parts;
    this.#broker = new PortBroker(parts.config.host, (port) =>
      this.#slots.some(({ last }) => last?.ports.includes(port)),
    );
    this.#health = new HealthServer({
      readiness: () => this.readiness(),
      liveness: () => this.liveness(),
      metrics: () => this.#metrics(),
    });
    this.#loops.watch(
      'workers',
      () => 0,
      () => this.#slots.some(({ state }) => state === 'running'),
    );
    this.#register();
  }

  /** The port devices connect to. */
  get port(): number {
    return this.#servingPort || this.#initialPort;
  }

  /** The port of health and metrics; 0 when there is none. */
  get metricsPort(): number {
    return this.#health.port;
  }

  /** Resolves once a worker serves; when none can, stops again and rejects with the first worker's error. */
  async start(): Promise<void> {
    const { config, log } = this.#parts;
    this.#preparing = this.#prepare();
    try {
      await this.#preparing;
      if (this.#stopping) return;
      this.#loops.start();
      await firstStarted(this.#slots.map((slot) => slot.start()));
    } catch (error) {
      await this.stop({ deadlineMs: 2_000 });
      throw error;
    }
    log.info({ port: this.port, metricsPort: this.metricsPort, workers: config.workers }, 'gateway started');
  }

  async #prepare(): Promise<void> {
    const { config, fork, log } = this.#parts;
    const initial = await this.#initial();
    this.#initialPort = initial.port;
    const siblingDir = await this.#makeSiblingDir();
    this.#slots = Array.from({ length: config.workers }, (_, workerNumber) => {
      const own = Object.freeze({ ...config, initial, workerNumber, metricsPort: null, siblingDir });
      const slot: WorkerSlot = new WorkerSlot(
        `${config.name}/${workerNumber}`,
        () => fork(Object.freeze({ ...own, fallbackPort: this.#servingPort })),
        {
          changed: () => this.#changed(),
          clearPort: (port) => this.#broker.clear(port),
          ended: (incarnation) => this.#releaseLease(incarnation),
        },
        log,
      );
      return slot;
    });
    const { metricsPort, metricsHost } = config;
    if (metricsPort !== null) await this.#health.start(metricsPort, metricsHost);
  }

  /** Stops all workers in parallel; those still running at the deadline are killed. Idempotent. */
  stop({ deadlineMs = 10_000 }: { deadlineMs?: number } = {}): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  /** Makes every worker reload the TLS files. One that is starting reads them anyway. */
  reloadTls(): void {
    for (const slot of this.#slots) slot.send({ t: 'reload-tls' });
  }

  readiness(): GatewayReadiness {
    const workers = this.#slots.map(({ name, state, stateSince, pid, restarts, last }) => ({
      worker: name,
      state,
      since: new Date(stateSince).toISOString(),
      ready: state === 'running' && (last?.readiness.ready ?? false),
      ...(pid === undefined ? {} : { pid }),
      restarts,
      ...(last?.port ? { port: last.port } : {}),
      connections: last?.connections ?? 0,
      full: last?.full ?? false,
      ...(last?.problem === undefined ? {} : { problem: last.problem }),
      ...(last ? { dependencies: last.readiness.dependencies } : {}),
    }));
    const ready = workers.some((worker) => worker.ready);
    if (ready) this.#ready.good();
    else this.#ready.bad('');
    return { ready, since: this.#ready.report().since, workers };
  }

  /**
   * Workers that are stuck are replaced; only a gateway without any running worker is not live, because a
   * restart then drops no device.
   */
  liveness(): GatewayLiveness {
    return { live: this.#loops.live, loops: this.#loops.report(), workers: this.readiness().workers };
  }

  async #stop(deadlineMs: number): Promise<void> {
    await this.#preparing.catch(() => undefined);
    this.#loops.stop();
    await Promise.all(this.#slots.map((slot) => slot.stop(deadlineMs)));
    await this.#releases;
    await this.#health.stop();
    if (this.#siblingDir !== null) await rm(this.#siblingDir, { recursive: true, force: true });
  }

  /** Only this user may enter it. Without one the gateway serves, but accepts no tunnels. */
  async #makeSiblingDir(): Promise<string | null> {
    const { workers, siblingDir } = this.#parts.config;
    if (workers === 1 || siblingDir !== null) return siblingDir;
    try {
      this.#siblingDir = await mkdtemp(join(tmpdir(), 'pushpoint-'));
    } catch (error) {
      this.#parts.log.error(
        { err: error },
        'cannot create the folder for sockets between workers: tunnels are disabled',
      );
    }
    return this.#siblingDir;
  }

  /** The port that workers serve now; 0 when none does. */
  get #servingPort(): number {
    return this.#slots.find(({ last }) => last?.port)?.last?.port ?? 0;
  }

  /** Port 0 becomes a free port here: each worker would choose a different one. */
  async #initial(): Promise<GatewayConfig['initial']> {
    const { initial, host } = this.#parts.config;
    if (initial.port !== 0) return initial;
    const port = await freePort(host);
    return Object.freeze({
      ...initial,
      port,
      address: initial.address.replace(/:0(?=\/|$)/, `:${port}`),
    });
  }

  #changed(): void {
    // Evaluated at every change, so that its start time is right.
    this.readiness();
    const running = this.#slots.filter(({ state, last }) => state === 'running' && last);
    const allFull = running.length > 0 && running.every(({ last }) => last?.full);
    // Repeated at every change, because a newly started process does not know it.
    if (!allFull && !this.#allFull) return;
    this.#allFull = allFull;
    for (const slot of running) slot.send({ t: 'siblings-full', full: allFull });
  }

  /** Releasing the lease marks the dead worker's devices as gone before it would expire. */
  #releaseLease(incarnation: string | null): void {
    if (incarnation === null) return;
    const { bus, log } = this.#parts;
    this.#releases = this.#releases.then(async () => {
      try {
        await bus.leases.release(incarnation);
      } catch (error) {
        log.warn({ err: error, incarnation }, 'cannot release the lease of a dead worker: it will expire');
      }
    });
  }

  async #metrics(): Promise<MetricsText> {
    const all = await Promise.all([
      this.#registry.getMetricsAsJSON(),
      ...this.#slots.map((slot) => slot.metrics()),
    ]);
    const registry = AggregatorRegistry.aggregate(all);
    return { contentType: registry.contentType, text: await registry.metrics() };
  }

  #register(): void {
    const slots = () => this.#slots;
    const registers = [this.#registry];
    registerLogMetrics(this.#registry, this.#parts.log);
    registerProgramMetrics(this.#registry, this.#parts.version ?? 'unknown', { worker: 'supervisor' });
    new Gauge({
      name: 'pushpoint_gateway_worker_up',
      help: 'Whether the worker process runs.',
      labelNames: ['worker'],
      registers,
      collect() {
        for (const { name, state } of slots()) this.set({ worker: name }, state === 'running' ? 1 : 0);
      },
    });
    new Counter({
      name: 'pushpoint_gateway_worker_restarts_total',
      help: 'Worker processes started in place of one that died.',
      labelNames: ['worker'],
      registers,
      collect() {
        this.reset();
        for (const { name, restarts } of slots()) this.inc({ worker: name }, restarts);
      },
    });
  }
}

/** Resolves at the first success, or rejects with the first failure once all have failed. */
async function firstStarted(starts: Promise<void>[]): Promise<void> {
  try {
    await Promise.any(starts);
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  }
}
