/**
 * One worker of a gateway: a whole push server in one process, with its own lease, outbox and sessions. It
 * shares nothing with its siblings but, perhaps, a port. This file puts the parts together, starts and stops
 * them in order.
 */
import os from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import { type MetricObjectWithValues, type MetricValue, Registry } from 'prom-client';
import { AddressList } from '../bus/addresses.ts';
import type { Bus, GatewaySettings } from '../bus/bus.ts';
import { registerBusMetrics } from '../bus/bus-metrics.ts';
import { Certificate } from '../bus/certificate.ts';
import { registerLogMetrics } from '../bus/log-metrics.ts';
import { type Newcomer, Newcomers } from '../bus/newcomers.ts';
import { registerProgramMetrics } from '../bus/program-metrics.ts';
import { Dependency, Loops, lostSeconds } from '../health/health.ts';
import { CLOSE, encodeGatewayMessage } from '../protocol/index.ts';
import { Admission } from './admission/admission.ts';
import { Canary } from './admission/canary.ts';
import { Gatekeeper } from './admission/gatekeeper.ts';
import { Nonces } from './admission/handshake.ts';
import { Interner } from './admission/interner.ts';
import { createSignatureCheck } from './admission/signature-check.ts';
import { type GatewayConfig, shareOf, tickMs } from './config.ts';
import { Draining } from './drain/draining.ts';
import { HealthServer, type Liveness, type Readiness, registryMetrics } from './health.ts';
import { LeaseKeeper } from './lease/keeper.ts';
import { LoadMeter } from './lease/load.ts';
import { LeaseWork } from './lease/work.ts';
import { Descriptors, newcomersBound } from './listen/descriptors.ts';
import { Listener } from './listen/listener.ts';
import { freePort, probePort } from './listen/port-probe.ts';
import { PushServer, type PushServerEvents } from './listen/push-server.ts';
import { GatewayList } from './lists/gateway-list.ts';
import { Metrics } from './metrics.ts';
import { HeardReports } from './receipts/heard-reports.ts';
import { ReceiptSpool } from './receipts/spool.ts';
import { DeviceMessages } from './receive/device-messages.ts';
import { HeartbeatTimeouts } from './receive/heartbeat-timeouts.ts';
import { Connections } from './sessions/connections.ts';
import { PresenceReleases } from './sessions/presence-releases.ts';
import { handBack } from './sessions/refused-results.ts';
import { RoundTrips } from './sessions/round-trips.ts';
import type { Connection, DeviceSocket } from './sessions/session.ts';
import { SettingsFollower } from './settings/follower.ts';
import { SettingsWatcher } from './settings/watcher.ts';
import { Ticker } from './ticker.ts';
import { WorkerTunnels } from './tunnels/worker-tunnels.ts';
import { type WorkerState, WorkerStatus } from './worker-status.ts';

export interface GatewayWorkerParts {
  config: Readonly<GatewayConfig>;
  /** Started before the worker starts, stopped after it stopped; whoever made it does both. */
  bus: Bus;
  log: Logger;
  /** Takes the worker's metrics; a registry of its own when absent. One registry serves one worker. */
  registry?: Registry;
  /** Version of the program, for the lease. */
  version?: string;
  /** For a worker whose siblings share the port. */
  siblings?: Siblings;
}

/** What a worker asks whoever knows its siblings. */
export interface Siblings {
  /** Resolves when the port may be listened on, rejects with `PortUnavailable` when a stranger has it. */
  clearPort(port: number): Promise<void>;
  /** Something in the worker's `state()` changed. */
  changed(): void;
}

export interface StopOptions {
  /** Time the stop may take, milliseconds; 10 s when absent. */
  deadlineMs?: number;
  /** Whether newcomers are told where else to go meanwhile: not while siblings go on; true when absent. */
  refuse?: boolean;
}

/** Time given to closing handshakes that are on their way when the sockets are cut. */
const CLOSING_GRACE_MS = 100;
/** Each loop goes round every few seconds, also when it fails. */
const STUCK_AFTER_SECONDS = 60;

export class GatewayWorker {
  readonly name: string;
  /** The clock that all programs share. */
  readonly #now: () => number;
  readonly #config: Readonly<GatewayConfig>;
  readonly #bus: Bus;
  readonly #log: Logger;
  readonly #siblings: Siblings | null;
  readonly #metrics = new Metrics();
  readonly #nonces = new Nonces();
  readonly #directoryHealth = new Dependency();
  readonly #leaseHealth = new Dependency();
  readonly #loops = new Loops(STUCK_AFTER_SECONDS);
  readonly #server: PushServer;
  readonly #certificate = new Certificate();
  readonly #health: HealthServer;
  readonly #registry: Registry;
  readonly #gateways: GatewayList;
  readonly #spool: ReceiptSpool;
  readonly #releases: PresenceReleases;
  readonly #newcomers: Newcomers;
  readonly #connections: Connections;
  readonly #admission: Admission;
  readonly #messages: DeviceMessages;
  readonly #gatekeeper: Gatekeeper;
  readonly #listener: Listener;
  readonly #draining: Draining;
  readonly #roundTrips: RoundTrips;
  readonly #keeper: LeaseKeeper;
  readonly #leaseWork: LeaseWork;
  readonly #heard: HeardReports;
  readonly #watcher: SettingsWatcher;
  readonly #follower: SettingsFollower;
  readonly #status: WorkerStatus;
  readonly #heartbeatTimeouts: HeartbeatTimeouts;
  readonly #ticker: Ticker;
  readonly #canary: Canary | null;
  readonly #tunnels: WorkerTunnels;
  #newcomersLimit: number;
  #initial: GatewaySettings;
  #starting: Promise<void> | null = null;
  #stopping: Promise<void> | null = null;

  /** Throws when the TLS files are not usable. */
  constructor({ config, bus, log, registry, version, siblings }: GatewayWorkerParts) {
    this.name = `${config.name}/${config.workerNumber}`;
    this.#config = config;
    this.#bus = bus;
    this.#siblings = siblings ?? null;
    this.#initial = config.initial;
    this.#log = log.child({ worker: this.name });
    this.#now = bus.clock.now.bind(bus.clock);
    this.#ticker = new Ticker(tickMs(config), () => this.#heartbeatTimeouts.tick(this.#ticker.now));
    this.#newcomersLimit = shareOf(config.maxUnauthenticated, config) || 1;
    this.#newcomers = new Newcomers({
      bound: () => this.#newcomersLimit,
      perAddress: shareOf(config.maxUnauthenticatedPerAddress, config) || 1,
      shared: new AddressList(config.sharedAddresses),
      now: () => this.#ticker.now,
      limitTicks: this.#ticker.ticks(config.handshakeTimeoutMs),
      cuts: this.#metrics.newcomersCut,
    });
    const events: PushServerEvents = {
      socketsChanged: () => this.#listener.changed(),
      refusal: (prefix) => this.#gatekeeper.refusal(prefix),
      wrongProtocol: () => this.#metrics.upgradesRefused.add('subprotocol'),
      probed: () => this.#metrics.probes++,
      open: (socket, port, newcomer) => this.#open(socket, port, newcomer),
      message: (connection, bytes, isBinary) => this.#messages.receive(connection, bytes, isBinary),
      writable: (connection) => this.#connections.writable(connection),
      pong: (connection, payload) => this.#roundTrips.pong(connection, payload),
      close: (connection, code, reason) => this.#connections.closed(connection, code, reason),
      legRefusal: (prefix) => this.#tunnels.refusal() ?? this.#gatekeeper.hurried(prefix),
      legOpen: (leg, newcomer) => this.#tunnels.open(leg, newcomer),
      fault: (error) => {
        this.#metrics.faults++;
        this.#log.error({ err: error }, 'a socket event was not handled');
      },
    };
    this.#server = new PushServer(config, events, this.#newcomers);
    this.#gateways = new GatewayList(config.name, config.initial);
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
      ({ device, command }) => {
        const connection = this.#connections.sessions.get(device);
        handBack(connection, command, this.#connections, this.#metrics, config.resultRetryMs);
      },
    );
    this.#releases = new PresenceReleases(
      bus.presence,
      () => this.#keeper.last?.incarnation ?? null,
      this.#log,
    );
    this.#tunnels = new WorkerTunnels({
      config,
      spool: this.#spool,
      metrics: this.#metrics,
      newcomers: this.#newcomers,
      incarnation: () => this.#keeper.last?.incarnation ?? null,
      leaving: () => this.#status.stopping || this.#draining.all,
      now: this.#now,
      log: this.#log,
    });
    this.#connections = new Connections({
      idPrefix: nanoid(6),
      metrics: this.#metrics,
      spool: this.#spool,
      releases: this.#releases,
      now: this.#now,
      newcomers: this.#newcomers,
      log: this.#log,
      onChanged: () => this.#listener.changed(),
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
      isSigned: createSignatureCheck(),
      directoryHealth: this.#directoryHealth,
      lease: () => this.#keeper.held(),
      limit: () => this.#listener.limit,
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
      bytesPerSecond: config.bytesPerSecond,
      byteBurst: config.byteBurst,
      keep: (connection, id) => {
        handBack(connection, id, this.#connections, this.#metrics, config.resultRetryMs);
      },
      now: this.#now,
      log: this.#log,
    });
    this.#gatekeeper = new Gatekeeper(
      config.upgradesPerSecond,
      () => this.#status.door(),
      (reason) => this.#metrics.upgradesRefused.add(reason),
    );
    this.#roundTrips = new RoundTrips(this.#connections, this.#metrics);
    this.#draining = new Draining({
      connections: this.#connections,
      gateways: this.#gateways,
      server: this.#server,
      moved: (port) => this.#follower.moved(port),
      perSecond: shareOf(config.drainPerSecond, config) || 1,
      log: this.#log,
    });
    this.#listener = new Listener({
      server: this.#server,
      descriptors: new Descriptors(),
      connections: () => this.#connections.devices,
      measured: (used, limit) => this.#boundNewcomers(used, limit),
      port: () => this.#gateways.own.port,
      formerPorts: () => this.#follower.formerPorts(),
      share: () => shareOf(this.#gateways.own.connectionLimit, config),
      wanted: () => this.#status.wantedDoor,
      clearPort: (port) => (siblings ? siblings.clearPort(port) : probePort(config.host, port)),
      alone: siblings === undefined,
      fallbackPort: () => config.fallbackPort || (this.#gateways.own.told?.port ?? 0),
      onLook: () => this.#tell(),
      log: this.#log,
    });
    const load = new LoadMeter({
      connections: () => this.#connections.count,
      takeAdmissions: () => this.#admission.takeCount(),
      bufferedBytes: () => this.#connections.bufferedBytes(),
      limit: () => this.#listener.limit,
      port: () => this.#status.openPort || undefined,
      revision: () => this.#follower.applied,
      roundTripMs: () => this.#roundTrips.percentiles(),
      leaving: () => this.#status.leaving,
      problem: () => this.#follower.problem,
      tunnels: () => this.#tunnels.load,
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
      tunnels: this.#tunnels.relay,
      log: this.#log,
    });
    this.#keeper = new LeaseKeeper(
      bus.leases,
      () => ({
        worker: this.name,
        gateway: config.name,
        host: os.hostname(),
        pid: process.pid,
        version: version ?? 'unknown',
        initial: this.#initial,
        ...(this.#canary && { canaryKey: this.#canary.publicKey }),
      }),
      () => load.read(),
      config.leaseTtlMs,
      this.#leaseHealth,
      {
        acquired: (lease) => {
          this.#leaseWork.acquired(lease, this.#keeper);
          this.#heard.renewed();
        },
        lost: (lease) => this.#leaseWork.lost(lease),
      },
      this.#log,
    );
    this.#heard = new HeardReports({
      bus,
      heardUpTo: (now) => this.#spool.heardUpTo(now),
      incarnation: () => this.#keeper.last?.incarnation ?? null,
      log: this.#log,
    });
    this.#follower = new SettingsFollower({
      gateway: config.name,
      connections: this.#connections,
      gateways: this.#gateways,
      server: this.#server,
      listener: this.#listener,
      draining: this.#draining,
      log: this.#log,
    });
    this.#watcher = new SettingsWatcher(
      bus.directory,
      config.settingsPollMs,
      this.#directoryHealth,
      (gateways) => this.#follower.gatewaysRead(gateways),
      this.#log,
    );
    const canaryHealth = new Dependency();
    this.#canary = config.canary
      ? new Canary({
          worker: this.name,
          gateway: config.name,
          directory: bus.directory,
          heartbeatMs: config.heartbeatIntervalMs,
          open: (socket) => this.#open(socket, 0, null),
          receive: (connection, bytes) => this.#messages.receive(connection, bytes, true),
          close: (connection, code, reason) => this.#connections.close(connection, code, reason),
          health: canaryHealth,
          log: this.#log,
        })
      : null;
    this.#status = new WorkerStatus({
      config,
      bus,
      connections: this.#connections,
      newcomers: this.#newcomers,
      gateways: this.#gateways,
      server: this.#server,
      listener: this.#listener,
      draining: this.#draining,
      follower: this.#follower,
      keeper: this.#keeper,
      leaseHealth: this.#leaseHealth,
      directoryHealth: this.#directoryHealth,
      ...(config.canary && { canaryHealth }),
      ...(config.tls && { certificate: this.#certificate }),
      loops: this.#loops,
    });
    this.#loops.watch('lease', () => this.#keeper.rounds);
    this.#loops.watch(
      'outbox',
      () => this.#leaseWork.rounds,
      () => this.#keeper.last === null,
    );
    this.#loops.watch(
      'receipts',
      () => this.#spool.rounds,
      () => this.#spool.size === 0,
    );
    this.#heartbeatTimeouts = new HeartbeatTimeouts(this.#connections, this.#newcomers, config, this.#ticker);
    const metricsRegistry = registry ?? new Registry();
    this.#metrics.register(metricsRegistry, this.name, {
      connections: () => this.#connections.count,
      unauthenticated: () => this.#connections.unauthenticated.size,
      newcomers: () => this.#newcomers.counts,
      newcomersLimit: () => this.#newcomersLimit,
      sessions: () => this.#connections.devices,
      spooledReceipts: () => this.#spool.size,
      spoolFill: () => this.#spool.fill,
      now: this.#now,
      clockAheadMs: () => bus.clock.aheadMs(),
      spoolOldestAt: () => this.#spool.oldestAt,
      bufferedBytes: () => this.#connections.bufferedBytes(),
      limit: () => this.#listener.limit,
      leaving: () => this.#draining.left,
      canaryConfirmed: () => this.#canary?.confirmed ?? 0,
      ready: () => this.readiness().ready,
      lostSeconds: () =>
        Object.entries(this.readiness().dependencies).map(([name, report]) => [name, lostSeconds(report)]),
      stuck: () => this.#loops.stuck,
      tunnels: () => this.#tunnels.relay.size,
      tunnelLegs: () => this.#tunnels.relay.legs,
      tunnelBufferedBytes: () => this.#tunnels.relay.bufferedBytes(),
      tunnelBytes: () => this.#tunnels.relay.bytes(),
    });
    registerBusMetrics(metricsRegistry, bus, { worker: this.name });
    registerLogMetrics(metricsRegistry, log, { worker: this.name });
    registerProgramMetrics(metricsRegistry, version ?? 'unknown', { worker: this.name });
    this.#registry = metricsRegistry;
    this.#health = new HealthServer({
      readiness: () => this.readiness(),
      liveness: () => this.liveness(),
      metrics: () => registryMetrics(metricsRegistry),
    });
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
    return this.#connections.devices;
  }

  /**
   * Resolves once the worker listens; with a bus that cannot be reached it listens, admits nobody, and goes
   * on trying. Rejects with `PortUnavailable`, or when the port of health and metrics is taken; then
   * everything is stopped again.
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

  /** Ends at the next step once the worker stops, which waits for it. */
  async #start(): Promise<void> {
    if (this.#stopping) return;
    const { metricsPort, metricsHost } = this.#config;
    if (metricsPort !== null) await this.#health.start(metricsPort, metricsHost);
    if (this.#stopping) return;
    await this.#takeRealPort();
    if (this.#stopping) return;
    await this.#watcher.start();
    if (this.#stopping) return;
    await this.#keeper.start();
    if (this.#stopping) return;
    this.#heard.start();
    this.#ticker.start();
    this.#loops.start();
    this.#roundTrips.start();
    await this.#tunnels.start();
    if (this.#stopping) return;
    await this.#follower.start();
    if (this.#stopping) return;
    this.#canary?.start();
    this.#log.info({ port: this.port, metricsPort: this.metricsPort }, 'gateway worker started');
  }

  /**
   * Leaves in order: no newcomers; devices sent away at a pace; what they said appended; presence, then the
   * lease, given back; sockets closed. Idempotent.
   */
  stop({ deadlineMs = 10_000, refuse = true }: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(Date.now() + deadlineMs, refuse);
    return this.#stopping;
  }

  /** Reads the TLS files again; files that are no good change nothing, and log and health say so. */
  reloadTls(): void {
    if (!this.#config.tls) return;
    const wrong = this.#certificate.replace(() => this.#server.reloadTls());
    if (wrong) this.#log.error({ err: wrong }, 'the certificate is not replaced');
    else this.#log.info('the certificate was read again');
  }

  /**
   * Whether all siblings are full: then this one, when it is full as well, listens to say where else to go.
   */
  setSiblingsFull(full: boolean): void {
    this.#listener.setSiblingsFull(full);
  }

  state(): WorkerState {
    return this.#status.state();
  }

  /** All metrics, as prom-client's aggregation takes them. */
  metricsJson(): Promise<MetricObjectWithValues<MetricValue<string>>[]> {
    return this.#registry.getMetricsAsJSON();
  }

  /** What `/ready` answers. */
  readiness(): Readiness {
    return this.#status.readiness();
  }

  /** What `/live` answers. */
  liveness(): Liveness {
    return this.#status.liveness();
  }

  async #stop(deadline: number, refuse: boolean): Promise<void> {
    this.#log.info({ sessions: this.sessions }, 'gateway worker stops');
    this.#status.stop(refuse ? 'refusing' : 'closed');
    const started = this.#starting?.catch(() => undefined) ?? Promise.resolve();
    await this.#within(deadline, started, 'start');
    void this.#listener.apply();
    this.#follower.stop();
    await this.#within(deadline, this.#watcher.stop(), 'settings');
    this.#canary?.stop();
    const hadConnections = this.#connections.count > 0 || this.#tunnels.relay.legs > 0;
    const tunnelsLeft = this.#tunnels.leave(deadline);
    await this.#within(deadline, this.#draining.stop(deadline), 'devices');
    await this.#within(deadline, tunnelsLeft, 'tunnels');
    this.#listener.close();
    this.#roundTrips.stop();
    await this.#within(deadline, this.#admission.settled(), 'admission');
    this.#ticker.stop();
    this.#loops.stop();
    await this.#within(deadline, this.#leaseWork.stop(), 'outbox');
    const allHeard = await this.#spool.flush(deadline);
    if (!allHeard) {
      this.#log.warn({ receipts: this.#spool.size }, 'receipts not appended: devices will say them again');
    }
    this.#spool.stop();
    await this.#within(deadline, this.#heard.stop(), 'reports of what was heard');
    await this.#within(deadline, this.#releases.flush(), 'presence');
    this.#releases.stop();
    await this.#within(deadline, this.#keeper.stop(allHeard), 'lease');
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

  /** Port 0 of the settings to start with becomes a free one. */
  async #takeRealPort(): Promise<void> {
    const { initial, host } = this.#config;
    if (initial.port !== 0) return;
    const port = await freePort(host);
    this.#initial = { ...initial, port, address: initial.address.replace(/:0(?=\/|$)/, `:${port}`) };
    this.#gateways.begin(this.#initial);
  }

  /** What others want to know soon. */
  #tell(): void {
    this.#follower.look();
    if (!this.#status.takeNews()) return;
    this.#siblings?.changed();
    if (!this.#stopping) void this.#keeper.beat();
  }

  #boundNewcomers(used: number, limit: number): void {
    const most = shareOf(this.#config.maxUnauthenticated, this.#config) || 1;
    this.#newcomersLimit = newcomersBound({ used, limit }, this.#newcomers.size, most);
    this.#newcomers.enforce();
  }

  #open(socket: DeviceSocket, port: number, newcomer: Newcomer | null): Connection {
    const nonce = this.#nonces.next();
    const { name, messageBurst, byteBurst } = this.#config;
    const now = this.#ticker.now;
    const connection = this.#connections.open(socket, port, newcomer, nonce, now, messageBurst, byteBurst);
    if (this.#follower.moved(port)) {
      this.#draining.sendOn(connection);
      return connection;
    }
    const installation = this.#bus.owner.current?.id;
    if (installation === undefined) {
      this.#connections.close(
        connection,
        CLOSE.notReady,
        'H-2: the gateway does not know its installation yet',
      );
      return connection;
    }
    const time = this.#now();
    const challenge = encodeGatewayMessage({ t: 'challenge', nonce, gateway: name, installation, time });
    this.#connections.send(connection, challenge);
    this.#listener.changed();
    return connection;
  }
}
