/**
 * One worker of a gateway: a whole push server in one process, with its own lease, outbox and sessions. It shares nothing
 * with its siblings but, perhaps, a port. This file puts the parts together, starts and stops them in order.
 */
import os from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import type { Bus, GatewaySettings } from '../bus/bus.ts';
import { encodeGatewayMessage } from '../protocol/index.ts';
import { Admission } from './admission.ts';
import { type GatewayConfig, tickMs } from './config.ts';
import { Connections } from './connections.ts';
import { DeviceMessages } from './device-messages.ts';
import { type DoorState, Gatekeeper } from './gatekeeper.ts';
import { GatewayList } from './gateway-list.ts';
import { Nonces } from './handshake.ts';
import { Dependency, HealthServer, type Readiness } from './health.ts';
import { Interner } from './interner.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { LeaseWork } from './lease-work.ts';
import { drain } from './leaving.ts';
import { Listener } from './listener.ts';
import { LoadMeter } from './load.ts';
import { Metrics } from './metrics.ts';
import { PresenceReleases } from './presence-releases.ts';
import { PushServer } from './push-server.ts';
import { ReceiptSpool } from './receipt-spool.ts';
import type { Connection, DeviceSocket } from './session.ts';
import { SettingsFollower } from './settings-follower.ts';
import { SettingsWatcher } from './settings-watcher.ts';
import { Sweep } from './sweep.ts';
import { Ticker } from './ticker.ts';

export interface GatewayWorkerParts {
  config: Readonly<GatewayConfig>;
  /** Started before the worker starts, stopped after it stopped; whoever made it does both. */
  bus: Bus;
  log: Logger;
  /** Takes the worker's metrics; a registry of its own when absent. One registry serves one worker. */
  registry?: Registry;
  /** Version of the program, for the lease. */
  version?: string;
}

export interface StopOptions {
  /** Time the stop may take, milliseconds; 10 s when absent. */
  deadlineMs?: number;
}

/** Time given to closing handshakes that are on their way when the sockets are cut. */
const CLOSING_GRACE_MS = 100;

export class GatewayWorker {
  readonly name: string;
  readonly #config: Readonly<GatewayConfig>;
  readonly #bus: Bus;
  readonly #log: Logger;
  readonly #initial: GatewaySettings;
  readonly #metrics = new Metrics();
  readonly #nonces = new Nonces();
  readonly #directoryHealth = new Dependency();
  readonly #leaseHealth = new Dependency();
  readonly #server: PushServer;
  readonly #health: HealthServer;
  readonly #gateways: GatewayList;
  readonly #spool: ReceiptSpool;
  readonly #releases: PresenceReleases;
  readonly #connections: Connections;
  readonly #admission: Admission;
  readonly #messages: DeviceMessages;
  readonly #gatekeeper: Gatekeeper;
  readonly #listener: Listener;
  readonly #keeper: LeaseKeeper;
  readonly #leaseWork: LeaseWork;
  readonly #watcher: SettingsWatcher;
  readonly #follower: SettingsFollower;
  readonly #sweep: Sweep;
  readonly #ticker: Ticker;
  #started = false;
  #leaving = false;
  #stopping: Promise<void> | null = null;

  /** Throws when the TLS files are not usable. */
  constructor({ config, bus, log, registry, version }: GatewayWorkerParts) {
    this.name = `${config.name}/${config.workerNumber}`;
    this.#config = config;
    this.#bus = bus;
    this.#log = log.child({ worker: this.name });
    this.#server = new PushServer(config, {
      refusal: () => this.#gatekeeper.refusal(),
      wrongProtocol: () => this.#metrics.refused.add('subprotocol'),
      open: (socket) => this.#open(socket),
      message: (connection, bytes, isBinary) => this.#messages.receive(connection, bytes, isBinary),
      writable: (connection) => this.#connections.writable(connection),
      close: (connection, code, reason) => this.#connections.closed(connection, code, reason),
      fault: (error) => {
        this.#metrics.faults++;
        this.#log.error({ err: error }, 'a socket event was not handled');
      },
    });
    this.#initial = this.#withRealPort(config.initial);
    this.#gateways = new GatewayList(config.name, this.#initial);
    this.#ticker = new Ticker(tickMs(config), () => this.#sweep.tick(this.#ticker.now));
    this.#spool = new ReceiptSpool(
      bus.receipts,
      {
        batch: config.receiptBatch,
        delayMs: config.receiptDelayMs,
        limit: config.receiptSpool,
        limitBytes: config.receiptSpoolBytes,
      },
      this.#metrics,
      this.#log,
    );
    this.#releases = new PresenceReleases(
      bus.presence,
      () => this.#keeper.last?.incarnation ?? null,
      this.#log,
    );
    this.#connections = new Connections({
      idPrefix: nanoid(6),
      metrics: this.#metrics,
      spool: this.#spool,
      releases: this.#releases,
      log: this.#log,
      onClosed: () => this.#listener.changed(),
    });
    const interner = new Interner();
    this.#admission = new Admission({
      bus,
      gateway: config.name,
      worker: this.name,
      heartbeatMs: config.heartbeatIntervalMs,
      connections: this.#connections,
      gateways: this.#gateways,
      spool: this.#spool,
      interner,
      directoryHealth: this.#directoryHealth,
      lease: () => this.#keeper.held(),
      log: this.#log,
    });
    this.#messages = new DeviceMessages({
      connections: this.#connections,
      admission: this.#admission,
      spool: this.#spool,
      interner,
      metrics: this.#metrics,
      ticker: this.#ticker,
      messagesPerSecond: config.messagesPerSecond,
      messageBurst: config.messageBurst,
      log: this.#log,
    });
    this.#gatekeeper = new Gatekeeper(
      config.admissionsPerSecond,
      () => this.#door(),
      (reason) => this.#metrics.refused.add(reason),
    );
    this.#listener = new Listener(this.#server, this.#initial, () => this.#connections.count, this.#log);
    const load = new LoadMeter({
      connections: () => this.#connections.count,
      takeAdmissions: () => this.#admission.takeCount(),
      bufferedBytes: () => this.#connections.bufferedBytes(),
      limit: () => this.#listener.limit,
      port: () => (this.#server.listening ? this.#server.port : undefined),
      revision: () => this.#gateways.revision,
      problem: () => this.#listener.problem,
    });
    this.#leaseWork = new LeaseWork({
      bus,
      gateway: config.name,
      worker: this.name,
      connections: this.#connections,
      gateways: this.#gateways,
      spool: this.#spool,
      metrics: this.#metrics,
      outboxPollMs: config.outboxPollMs,
      log: this.#log,
    });
    this.#keeper = new LeaseKeeper(
      bus.leases,
      {
        worker: this.name,
        gateway: config.name,
        host: os.hostname(),
        pid: process.pid,
        version: version ?? 'unknown',
        initial: this.#initial,
      },
      () => load.read(),
      config.leaseTtlMs,
      this.#leaseHealth,
      {
        acquired: (lease) => this.#leaseWork.acquired(lease, this.#keeper),
        lost: (lease) => this.#leaseWork.lost(lease),
      },
      this.#log,
    );
    this.#follower = new SettingsFollower({
      connections: this.#connections,
      gateways: this.#gateways,
      listener: this.#listener,
      drainPerSecond: config.drainPerSecond,
      onProblem: () => void this.#keeper.beat(),
      log: this.#log,
    });
    this.#watcher = new SettingsWatcher(
      bus.directory,
      config.settingsPollMs,
      this.#directoryHealth,
      (gateways) => this.#follower.gatewaysRead(gateways),
      this.#log,
    );
    this.#sweep = new Sweep(this.#connections, config, this.#ticker);
    const metricsRegistry = registry ?? new Registry();
    this.#metrics.register(metricsRegistry, this.name, {
      connections: () => this.#connections.count,
      unauthenticated: () => this.#connections.unauthenticated.size,
      sessions: () => this.#connections.sessions.size,
      spooledReceipts: () => this.#spool.size,
      bufferedBytes: () => this.#connections.bufferedBytes(),
    });
    this.#health = new HealthServer(() => this.readiness(), metricsRegistry);
  }

  /** The port devices connect to. */
  get port(): number {
    return this.#server.port;
  }

  /** The port of health and metrics; 0 when there is none. */
  get metricsPort(): number {
    return this.#health.port;
  }

  /** Devices connected. */
  get sessions(): number {
    return this.#connections.sessions.size;
  }

  /**
   * Resolves once the worker listens; with a bus that cannot be reached it listens, admits nobody, and goes on trying.
   * Rejects with `PortUnavailable`, or when the port of health and metrics is taken; then everything is stopped again.
   */
  async start(): Promise<void> {
    if (this.#started) throw new Error('a worker starts once');
    this.#started = true;
    try {
      const { metricsPort, metricsHost } = this.#config;
      if (metricsPort !== null) await this.#health.start(metricsPort, metricsHost);
      await this.#watcher.start();
      await this.#keeper.start();
      if (this.#leaving) return;
      this.#ticker.start();
      this.#follower.start();
    } catch (error) {
      await this.stop({ deadlineMs: 1_000 });
      throw error;
    }
    this.#log.info({ port: this.port, metricsPort: this.metricsPort }, 'gateway worker started');
  }

  /**
   * Leaves in order: no newcomers; devices sent away at a pace; what they said appended; presence, then the lease, given back;
   * sockets closed. Idempotent.
   */
  stop({ deadlineMs = 10_000 }: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(Date.now() + deadlineMs);
    return this.#stopping;
  }

  /** What `/ready` answers. */
  readiness(): Readiness {
    const bus = this.#bus.status();
    const listening = this.#server.listening || this.#listener.full;
    const since = new Date(bus.since).toISOString();
    const dependencies: Readiness['dependencies'] = {
      bus: { ok: bus.available, since, ...(bus.reason === undefined ? {} : { reason: bus.reason }) },
      lease: this.#leaseHealth.report(),
      directory: this.#directoryHealth.report(),
    };
    const off = this.#leaving || !this.#gateways.own.runPushServer;
    const ready = Object.values(dependencies).every(({ ok }) => ok) && listening && !off;
    return { ready, listening, leaving: off, dependencies };
  }

  async #stop(deadline: number): Promise<void> {
    this.#log.info({ sessions: this.sessions }, 'gateway worker stops');
    this.#leaving = true;
    this.#follower.stop();
    await this.#within(deadline, this.#watcher.stop(), 'settings');
    const hadConnections = this.#connections.count > 0;
    await drain(this.#connections, this.#gateways, {
      perSecond: this.#config.drainPerSecond,
      deadline,
      canceled: () => false,
    });
    await this.#within(deadline, this.#admission.settled(), 'admission');
    this.#ticker.stop();
    await this.#within(deadline, this.#leaseWork.stop(), 'outbox');
    if (!(await this.#spool.flush(deadline))) {
      this.#log.warn({ receipts: this.#spool.size }, 'receipts not appended: devices will say them again');
    }
    this.#spool.stop();
    await this.#within(deadline, this.#releases.flush(), 'presence');
    this.#releases.stop();
    await this.#within(deadline, this.#keeper.stop(), 'lease');
    if (hadConnections) await pause(Math.min(CLOSING_GRACE_MS, Math.max(0, deadline - Date.now())));
    this.#server.close();
    await this.#health.stop();
    this.#log.info('gateway worker stopped');
  }

  /** Waits for `work`, but no longer than `deadline`, and at least a moment. */
  async #within(deadline: number, work: Promise<unknown>, what: string): Promise<void> {
    const abort = new AbortController();
    const tooLate = pause(Math.max(50, deadline - Date.now()), true, { signal: abort.signal }).catch(
      () => false,
    );
    const late = await Promise.race([work.then(() => false), tooLate]);
    abort.abort();
    if (late) this.#log.warn({ part: what }, 'did not stop in time');
  }

  #withRealPort(initial: GatewaySettings): GatewaySettings {
    if (initial.port !== 0) return initial;
    const port = this.#server.freePort();
    return { ...initial, port, address: initial.address.replace(/:0(?=\/|$)/, `:${port}`) };
  }

  #door(): DoorState {
    const { available } = this.#bus.status();
    return {
      leaving: this.#leaving || !this.#gateways.own.runPushServer,
      full: this.#connections.count >= this.#listener.limit,
      crowded: this.#connections.unauthenticated.size >= this.#config.maxUnauthenticated,
      missing: available ? (this.#keeper.held() ? null : 'no lease') : 'no bus',
    };
  }

  #open(socket: DeviceSocket): Connection {
    const nonce = this.#nonces.next();
    const { name, messageBurst } = this.#config;
    const connection = this.#connections.open(socket, nonce, this.#ticker.now, messageBurst);
    const challenge = encodeGatewayMessage({ t: 'challenge', nonce, gateway: name, time: Date.now() });
    this.#connections.send(connection, challenge);
    this.#listener.changed();
    return connection;
  }
}
