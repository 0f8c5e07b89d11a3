/**
 * The administration server: puts its parts together, starts them in the order they need each other, and
 * stops them in the opposite one. Several may run on one database and one bus; none is special.
 */
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import type { Bus } from '../bus/bus.ts';
import { registerBusMetrics } from '../bus/bus-metrics.ts';
import { Certificate } from '../bus/certificate.ts';
import { registerLogMetrics } from '../bus/log-metrics.ts';
import { registerProgramMetrics } from '../bus/program-metrics.ts';
import { Loops, lostSeconds } from '../health/health.ts';
import { TUNNEL_DEFAULTS } from '../protocol/index.ts';
import { Balancer } from './balance/balancer.ts';
import { coverageOf } from './balance/coverage.ts';
import { explainPlacement } from './balance/explain-placement.ts';
import { BestEffortSender } from './best-effort-sender.ts';
import { GatewayRegistrar } from './directory/gateway-registrar.ts';
import { DirectoryProjector } from './directory/projector.ts';
import { CommandFrames } from './dispatch/command-frames.ts';
import { Dispatcher } from './dispatch/dispatcher.ts';
import { Expander } from './dispatch/expander.ts';
import { explain } from './dispatch/explain.ts';
import { EventHub } from './event-hub.ts';
import { registerAdminGauges } from './gauges.ts';
import { Canaries } from './health/canaries.ts';
import { ClockWatch } from './health/clock-watch.ts';
import { FleetWatch } from './health/fleet-watch.ts';
import { Health } from './health/health.ts';
import { StoreWatch } from './health/store-watch.ts';
import { createHttpServer, reloadTls } from './http/http-server.ts';
import type { HttpServices } from './http/services.ts';
import { loadInstallation } from './installation.ts';
import { Ends } from './ledger/ends.ts';
import { Frontier } from './ledger/frontier.ts';
import { Ingest } from './ledger/ingest.ts';
import { OverdueExecutions } from './ledger/overdue-executions.ts';
import { PutAside } from './ledger/put-aside.ts';
import { Recheck } from './ledger/recheck.ts';
import { LiveWorkers } from './live-workers.ts';
import { createAdminMetrics } from './metrics.ts';
import { OrderSigner } from './order-signer.ts';
import { Outcomes } from './outcomes.ts';
import { CommandService } from './services/command-service.ts';
import { DeviceService } from './services/device-service.ts';
import { EnrolmentService } from './services/enrolment-service.ts';
import { GatewayService } from './services/gateway-service.ts';
import { GroupService } from './services/group-service.ts';
import { LocateService } from './services/locate-service.ts';
import { TokenService } from './services/token-service.ts';
import { TunnelService, type TunnelSettings } from './services/tunnel-service.ts';
import type { Store } from './store/store.ts';
import { TunnelEndings } from './tunnels/tunnel-endings.ts';
import { TunnelIngest } from './tunnels/tunnel-ingest.ts';
import { TunnelKeeper } from './tunnels/tunnel-keeper.ts';

const DAY_MS = 86_400_000;
/** A loop that waits for a database that hangs comes round after half a minute. */
const STUCK_AFTER_SECONDS = 300;

export interface AdminConfig {
  /** Interface and port of the HTTP API; port 0 takes a free one. */
  host: string;
  port: number;
  /** Version of the program, shown in the API. */
  version: string;
  /** PEM files; plain HTTP when absent. */
  tls?: { certFile: string; keyFile: string };
  /** Addresses or ranges of reverse proxies whose `X-Forwarded-For` is believed; none when absent. */
  trustProxy?: string[];
  /** Path below which a proxy serves the API; the root when absent. */
  basePath?: string;
  /** Origins whose pages may be devices, or `*`; none when absent. */
  allowedOrigins?: string[];
  /** Sent and not acknowledged for this long: sent again; 30,000 ms when absent. */
  resendAfterMs?: number;
  /** Most devices moved a second to spread the load, 0 for none; 100 when absent. */
  balanceMovesPerSecond?: number;
  /** How often each gateway worker's canary gets a no-op, 0 for never; 15,000 ms when absent. */
  canaryIntervalMs?: number;
  /**
   * How long an end waits for a worker that was lost and may have heard from the device; 5 minutes when
   * absent.
   */
  gatewayPatienceMs?: number;
  /** How long finished commands stay on record; 30 days when absent. */
  keepCommandsMs?: number;
  /** How long events can be resumed from; 1 day, and at most 200,000 of them, when absent. */
  keepEventsMs?: number;
  /** See `TunnelSettings`; `TUNNEL_SETTINGS` for what is absent. */
  tunnels?: Partial<TunnelSettings>;
}

const TUNNEL_SETTINGS: TunnelSettings = { perDevice: 8, perOperator: 32, ...TUNNEL_DEFAULTS };

export interface AdminServerParts {
  config: AdminConfig;
  /** Both started before the server starts and stopped after it stopped; whoever made them does it. */
  store: Store;
  bus: Bus;
  log: Logger;
  /**
   * Keeps the first admin token, which is made when there is no usable one. It is on record only after this
   * resolved, so that a token nobody knows never is.
   */
  keepFirstToken: (token: string) => void | Promise<void>;
  /** The clock of the ledger, milliseconds since the Unix epoch; that of the bus when absent. */
  now?: () => number;
}

interface Running {
  http: FastifyInstance;
  /** In the order they stop. */
  stops: (() => Promise<void>)[];
}

export class AdminServer {
  readonly #parts: AdminServerParts;
  readonly #certificate = new Certificate();
  #running: Running | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(parts: AdminServerParts) {
    this.#parts = parts;
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
    const { config, store, bus, log } = this.#parts;
    const now = this.#parts.now ?? (() => bus.clock.now());
    const resendAfterMs = config.resendAfterMs ?? 30_000;
    const registry = new Registry();
    registerProgramMetrics(registry, config.version);
    const metrics = createAdminMetrics(registry);
    const storeWatch = new StoreWatch(store, log);
    const loops = new Loops(STUCK_AFTER_SECONDS);
    const health = new Health({ bus, store: storeWatch, loops });
    const installation = await loadInstallation(store.meta);
    // Before anything is read or written there: it may be somebody else's.
    await bus.owner.claim(installation);
    if (config.tls) health.add('certificate', () => this.#certificate.report());
    const signer = await OrderSigner.load(store.meta);

    const hub = new EventHub(store.events, log);
    const outcomes = new Outcomes(store, hub, now);
    const frames = new CommandFrames(signer);
    const sender = new BestEffortSender(bus, log);
    const workers = new LiveWorkers(bus, log);
    const projector = new DirectoryProjector({ store, bus, signer, leases: workers, log });
    const clocks = new ClockWatch({ store, bus, log });
    health.add('clocks', () => clocks.report());
    health.add('directory', () => projector.dependency.report());
    const fleet = new FleetWatch({ meta: store.meta, leases: workers, log, now });
    health.add('fleet', () => fleet.report());
    const dispatcher = new Dispatcher({ store, bus, frames, outcomes, metrics, log, now });
    const expander = new Expander({ store, dispatcher, outcomes, log, now });
    const tunnelParts = { store, bus, dispatcher, hub, metrics, now, log };
    const endings = new TunnelEndings(tunnelParts);
    const keeper = new TunnelKeeper(
      { ...tunnelParts, endings, leases: workers },
      { intervalMs: 1000, keepMs: config.keepCommandsMs ?? 30 * DAY_MS },
    );
    const canaries = new Canaries(
      { store, bus, signer, leases: workers, sender, metrics, log, now },
      config.canaryIntervalMs ?? 15_000,
    );
    health.add('canary', () => canaries.dependency.report());
    const aside = new PutAside({ bus, metrics, log, now });
    health.add('receipts', () => aside.report());
    const ingest = new Ingest({
      store,
      bus,
      dispatcher,
      expander,
      sender,
      frames,
      projector,
      tunnels: new TunnelIngest(endings, keeper, workers),
      outcomes,
      hub,
      metrics,
      log,
      now,
      watch: storeWatch,
      canaries,
      aside,
    });
    const overdue = new OverdueExecutions(
      { store, bus, dispatcher, expander, outcomes, hub, metrics, log, now },
      {
        intervalMs: 1000,
        resendAfterMs,
        keepCommandsMs: config.keepCommandsMs ?? 30 * DAY_MS,
        keepEventsMs: config.keepEventsMs ?? DAY_MS,
        keepEvents: 200_000,
      },
    );
    const frontier = new Frontier({
      store,
      bus,
      now,
      log,
      patienceMs: config.gatewayPatienceMs ?? 300_000,
    });
    const ends = new Ends({ store, frontier, outcomes, sender, frames, metrics, now, log });
    const recheck = new Recheck({ store, bus, dispatcher, sender, frames, now, log });
    const registrar = new GatewayRegistrar({ store, projector, hub, log, now });

    const balancer = new Balancer(
      { store, leases: workers, directory: projector, sender, hub, metrics, log, now },
      { movesPerSecond: config.balanceMovesPerSecond ?? 100 },
    );

    const serviceParts = { store, directory: projector, leases: workers, sender, hub, now, log };
    const groups = new GroupService(serviceParts);
    const tokens = new TokenService({ store, now });
    const services: HttpServices = {
      store,
      bus,
      directory: {
        get state() {
          return projector.state;
        },
        installation,
      },
      storeWatch,
      health,
      commands: new CommandService({ store, dispatcher, expander, outcomes, ends, sender, frames, hub, now }),
      explain: (device, command) => explain({ store, bus, workers, resendAfterMs }, device, command),
      placement: (device) => explainPlacement(serviceParts, device),
      coverage: () => coverageOf(serviceParts),
      groups,
      devices: new DeviceService({ ...serviceParts, outcomes, ends, dispatcher }),
      enrolment: new EnrolmentService({ ...serviceParts, signer, installation }),
      locate: new LocateService({ ...serviceParts, signer }),
      gateways: new GatewayService(serviceParts),
      tunnels: new TunnelService(
        { ...tunnelParts, endings, directory: projector, leases: workers },
        { ...TUNNEL_SETTINGS, ...config.tunnels },
      ),
      tokens,
      events: hub,
      registry,
      now,
      log,
    };
    const http = await createHttpServer(services, {
      version: config.version,
      ...(config.tls && { tls: config.tls }),
      ...(config.trustProxy && { trustProxy: config.trustProxy }),
      ...(config.basePath && { basePath: config.basePath }),
      ...(config.allowedOrigins && { allowedOrigins: config.allowedOrigins }),
    });

    loops.watch('overdue executions', () => overdue.rounds);
    loops.watch('ends', () => ends.rounds);
    loops.watch('events', () => hub.rounds);
    loops.watch('leases', () => workers.rounds);
    loops.watch('directory', () => projector.rounds);
    loops.watch(
      'dispatcher',
      () => dispatcher.rounds,
      () => dispatcher.idle,
    );
    loops.watch(
      'receipts',
      () => ingest.rounds,
      () => ingest.idle,
    );
    registerBusMetrics(registry, bus);
    registerLogMetrics(registry, log);
    registerAdminGauges(registry, {
      ready: () => health.readiness().ready,
      directory: () => ({ ...projector.state, ...projector.counts }),
      connected: () => fleet.connected,
      fleetGone: () => fleet.warning !== null,
      stuck: () => health.stuck,
      lostSeconds: () =>
        Object.entries(health.readiness().dependencies).map(([name, report]) => [name, lostSeconds(report)]),
      clocksAheadMs: () => clocks.aheadMs(),
      storeConflicts: () => store.conflicts(),
      receiptsBacklog: () =>
        bus.status().available ? bus.receipts.backlog().catch(() => null) : Promise.resolve(null),
    });

    this.#running = {
      http,
      stops: [
        () => http.close(),
        () => groups.stop(),
        () => balancer.stop(),
        () => fleet.stop(),
        () => canaries.stop(),
        () => workers.stop(),
        () => registrar.stop(),
        () => keeper.stop(),
        () => recheck.stop(),
        () => ends.stop(),
        () => overdue.stop(),
        () => ingest.stop(),
        () => expander.stop(),
        () => dispatcher.stop(),
        () => projector.stop(),
        () => hub.stop(),
        () => clocks.stop(),
        () => storeWatch.stop(),
        async () => loops.stop(),
      ],
    };
    await storeWatch.start();
    clocks.start();
    await hub.start();
    await projector.start();
    dispatcher.start();
    await registrar.start();
    await frontier.start();
    await workers.start((up, gone) => {
      frontier.saw(workers.list()).catch((error) => log.debug({ err: error }, 'workers not noted yet'));
      metrics.workers.set(workers.list().length);
      projector.gatewaysChangedSoon();
      if (gone.length > 0) {
        overdue.workersGone();
        keeper.lookSoon();
      }
      registrar.workersChanged(up, gone, workers.list());
    });
    await fleet.start();
    // Also when there is nobody: what is on record as up may have gone while no server ran.
    if (workers.known) registrar.workersChanged([], [], workers.list());
    await ingest.start(nanoid());
    overdue.start();
    ends.start();
    recheck.start();
    keeper.start();
    balancer.start();
    canaries.start();
    loops.start();
    await tokens.ensureFirst(this.#parts.keepFirstToken);
    await http.listen({ host: config.host, port: config.port });
    log.info({ host: config.host, port: this.port, store: store.kind }, 'administration server started');
  }

  /** Reads the TLS files again; files that are no good change nothing, and log and health say so. */
  reloadTls(): void {
    const { config, log } = this.#parts;
    const { tls } = config;
    const http = this.#running?.http;
    if (!tls || !http) return;
    const wrong = this.#certificate.replace(() => reloadTls(http, tls));
    if (wrong) log.error({ err: wrong }, 'the certificate is not replaced');
    else log.info('the certificate was read again');
  }

  /** Idempotent. What is under way is finished or left for the next start; nothing accepted is lost. */
  async stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    // A part that is stopped first and started afterwards would go on.
    await this.#starting?.catch(() => undefined);
    for (const stop of this.#running?.stops ?? []) {
      await stop().catch((error) =>
        this.#parts.log.warn({ err: error }, 'a part did not stop in an orderly way'),
      );
    }
    this.#parts.log.info('administration server stopped');
  }
}
