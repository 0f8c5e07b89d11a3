/**
 * The bus over Redis 6.2 or later (a cluster: 7.0). `keys.ts` lists what it keeps there, `scripts/` each
 * atomic step, `topology.ts` where it is.
 */
import { nanoid } from 'nanoid';
import { type Logger, pino } from 'pino';
import {
  type Bus,
  type BusCounts,
  type BusStatus,
  BusUnavailable,
  type Installation,
  RECEIPTS_MAX_BYTES,
} from '../bus.ts';
import { MeasuredClock } from '../clock.ts';
import type { GatewayCredentials, GatewayKeys } from '../credentials.ts';
import type { Certificates } from '../tls/certificates.ts';
import type { Client } from './client.ts';
import { ClusterTopology } from './cluster-topology.ts';
import { Commands } from './commands.ts';
import { RedisDirectory } from './directory.ts';
import { reasonOf } from './errors.ts';
import { Health } from './health.ts';
import { Histories } from './histories.ts';
import { RedisJoins } from './joins.ts';
import { type Keys, keysWith } from './keys.ts';
import { RedisLeases } from './leases.ts';
import { Authenticator } from './macs/authenticator.ts';
import { Refusals } from './macs/refusals.ts';
import { RedisOutboxes } from './outboxes.ts';
import { OwnCommands, RedisOwner } from './owner.ts';
import { RedisPresence } from './presence.ts';
import { RedisReceipts } from './receipts.ts';
import { SentinelTopology } from './sentinels.ts';
import {
  parseRedisSettings,
  type RedisSettings,
  type RedisTarget,
  type RedisTls,
  tlsOptions,
} from './settings.ts';
import { Subscriptions } from './subscriptions.ts';
import { StandaloneTopology, type Topology } from './topology.ts';

/** How often Redis is asked for the time, milliseconds. */
const CLOCK_EVERY_MS = 5_000;

export interface RedisBusOptions extends RedisSettings {
  /** Prefix of every key and channel, without braces; `pp` when absent. */
  prefix?: string;
  /** The installation of this program, if already known. */
  installation?: Installation;
  /** Bytes of receipts that may wait; `RECEIPTS_MAX_BYTES` when absent. */
  receiptsMaxBytes?: number;
  /** Silent when absent. */
  log?: Logger;
  /** How long `start` waits for Redis, milliseconds; 10,000 when absent. */
  startTimeoutMs?: number;
  /** Whether to log Redis settings that should be changed; true when absent. */
  tellWarnings?: boolean;
  /** Rereads the TLS files when they change; absent: they are read once. */
  certificates?: Certificates;
  /**
   * The gateway's newest credentials: it authenticates with them what it writes, and accepts only servers
   * that know its key.
   */
  credentials?: () => GatewayCredentials;
  /** For an administration server: the only keys by which it accepts gateways. */
  gatewayKeys?: GatewayKeys;
}

export class RedisBus implements Bus {
  readonly owner: RedisOwner;
  readonly leases: RedisLeases;
  readonly outboxes: RedisOutboxes;
  readonly receipts: RedisReceipts;
  readonly presence: RedisPresence;
  readonly directory: RedisDirectory;
  readonly joins: RedisJoins;
  readonly clock = new MeasuredClock();
  readonly #keys: Keys;
  readonly #log: Logger;
  #clockTimer: NodeJS.Timeout | undefined;
  readonly #topology: Topology;
  readonly #histories: Histories;
  readonly #commands: Commands;
  readonly #subscriptions: Subscriptions;
  readonly #health: Health;
  readonly #startTimeoutMs: number;
  readonly #refusals: Refusals;
  readonly #unwatch: () => void;
  #started = false;
  #stopping: Promise<void> | null = null;

  /** Throws `RedisSettingsError`. */
  constructor({
    prefix = 'pp',
    log = pino({ level: 'silent' }),
    startTimeoutMs = 10_000,
    tellWarnings = true,
    installation,
    receiptsMaxBytes = RECEIPTS_MAX_BYTES,
    certificates,
    credentials,
    gatewayKeys,
    ...settings
  }: RedisBusOptions) {
    this.#startTimeoutMs = startTimeoutMs;
    const target = parseRedisSettings(settings);
    this.#unwatch = watchTls(target, settings.tls, certificates);
    const sharded = target.kind === 'cluster';
    const keys = keysWith(prefix, sharded);
    const id = nanoid();
    const topology = topologyOf(target, () => this.#commands.clients, log);
    const histories = new Histories(topology, () => this.receipts.historyChanged());
    const changed = () => this.#health.connectionsChanged();
    const commands = new Commands(target, topology, histories, log, changed);
    const probeChannel = (place: string) => keys.probe(topology.tagOf(place), id);
    const subscriptions = new Subscriptions(target, topology, probeChannel, log, changed);
    this.#keys = keys;
    this.#log = log;
    this.#topology = topology;
    this.#histories = histories;
    this.#commands = commands;
    this.#subscriptions = subscriptions;
    const owner = new RedisOwner({
      ...{ commands, key: keys.installation, log, known: installation ?? null },
      told: () => installationOf(credentials),
    });
    this.owner = owner;
    this.#health = new Health({
      ...{ sharded, topology, commands, subscriptions, histories, keys, id, log, tellWarnings, owner },
    });
    const now = () => this.clock.now();
    const authenticator = new Authenticator(
      { now, ...(credentials && { credentials }), ...(gatewayKeys && { gatewayKeys }) },
      new Refusals(log),
    );
    this.#refusals = authenticator.refusals;
    const own = new OwnCommands(commands, owner);
    const watch = this.#health.watch.bind(this.#health);
    this.receipts = new RedisReceipts({
      ...{ target, topology, commands: own, keys, histories, authenticator, watch, log },
      maxBytes: receiptsMaxBytes,
    });
    this.leases = new RedisLeases({
      ...{ commands: own, subscriptions, keys, histories, receipts: this.receipts, authenticator, now, log },
    });
    const { records } = this.leases;
    this.outboxes = new RedisOutboxes({
      ...{ commands: own, subscriptions, keys, histories, sharded, authenticator, records },
    });
    this.presence = new RedisPresence(own, keys);
    this.joins = new RedisJoins(own, keys);
    this.directory = new RedisDirectory({ commands: own, subscriptions, keys, histories, owner });
  }

  async start({ waiting }: { waiting?: (reason: string) => void } = {}): Promise<void> {
    if (this.#stopping !== null) throw new BusUnavailable('the bus was stopped');
    this.#started = true;
    this.#topology.start(() => this.#follow());
    this.#commands.open();
    this.#subscriptions.open();
    try {
      await this.#health.start(this.#startTimeoutMs, waiting);
    } catch (error) {
      await this.stop();
      throw error;
    }
    await this.#askTime();
    // Meanwhile it may have been stopped.
    if (this.#stopping !== null) throw new BusUnavailable('the bus was stopped');
    this.#clockTimer = setInterval(() => void this.#askTime(), CLOCK_EVERY_MS);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  status(): BusStatus {
    const refused = this.#refusals.warnings();
    return { ...this.#health.status(), ...(refused.length > 0 && { refused }) };
  }

  counts(): BusCounts {
    return {
      reconnects: this.#commands.reconnects + this.#subscriptions.reconnects,
      subscriptionsReplaced: this.#health.subscriptionsReplaced,
      historyChanges: this.#histories.changes,
      refused: this.#refusals.counts,
      probeRoundTripMs: this.#health.roundTripMs,
    };
  }

  /** Servers changed their roles. */
  #follow(): void {
    if (this.#stopping !== null) return;
    this.#commands.follow();
    this.#histories.follow();
    this.#subscriptions.follow();
    this.receipts.follow();
  }

  /** The clock of the server with the receipts: in a cluster, each server has its own. */
  async #askTime(): Promise<void> {
    const askedAt = performance.now();
    try {
      const [seconds, micros] = await this.#commands.do(this.#keys.receipts, (client) => client.time());
      this.clock.measured(Number(seconds) * 1000 + Number(micros) / 1000, askedAt, performance.now());
    } catch (error) {
      this.#log.debug({ reason: reasonOf(error) }, 'Redis did not report its time');
    }
  }

  async #stop(): Promise<void> {
    clearInterval(this.#clockTimer);
    this.#unwatch();
    // Consumers end first: they still acknowledge what they applied.
    await this.receipts.stop();
    this.#health.stop();
    if (this.#started) await this.#topology.stop();
    await Promise.all([this.#subscriptions.close(), this.#commands.close()]);
  }
}

/** `null` until the gateway has joined. */
function installationOf(credentials: RedisBusOptions['credentials']) {
  try {
    return credentials?.().installation;
  } catch {
    return null;
  }
}

function watchTls({ tls }: RedisTarget, settings: RedisTls | undefined, watch?: Certificates): () => void {
  const files = settings?.files;
  if (tls === null || files === undefined || watch === undefined) return () => {};
  return watch.watch({
    name: 'redis',
    files: Object.values(files),
    certFile: files.cert,
    take: () => Object.assign(tls, tlsOptions(settings, true)),
  });
}

function topologyOf(target: RedisTarget, connected: () => readonly Client[], log: Logger): Topology {
  switch (target.kind) {
    case 'sentinel':
      return new SentinelTopology(target, log);
    case 'cluster':
      return new ClusterTopology(target, connected, log);
    default:
      return new StandaloneTopology(target.endpoints[0]);
  }
}
