/** The bus over Redis 6.2 or later. `keys.ts` lists what it keeps there, `scripts/` each atomic step. */
import { nanoid } from 'nanoid';
import { type Logger, pino } from 'pino';
import { type Bus, type BusStatus, BusUnavailable } from '../bus.ts';
import { Commands } from './commands.ts';
import { RedisDirectory } from './directory.ts';
import { Health } from './health.ts';
import { keysWith } from './keys.ts';
import { RedisLeases } from './leases.ts';
import { RedisOutboxes } from './outboxes.ts';
import { RedisPresence } from './presence.ts';
import { RedisReceipts } from './receipts.ts';
import { Subscriptions } from './subscriptions.ts';

export interface RedisBusOptions {
  /** `redis://` or `rediss://`, with user, password and database where needed. */
  url: string;
  /** Stands before every key and channel; `pp` when absent. */
  prefix?: string;
  /** Silent when absent. */
  log?: Logger;
  /** How long `start` waits for Redis, milliseconds; 10,000 when absent. */
  startTimeoutMs?: number;
}

export class RedisBus implements Bus {
  readonly leases: RedisLeases;
  readonly outboxes: RedisOutboxes;
  readonly receipts: RedisReceipts;
  readonly presence: RedisPresence;
  readonly directory: RedisDirectory;
  readonly #commands: Commands;
  readonly #subscriptions: Subscriptions;
  readonly #health: Health;
  readonly #startTimeoutMs: number;
  #stopping: Promise<void> | null = null;

  constructor({
    url,
    prefix = 'pp',
    log = pino({ level: 'silent' }),
    startTimeoutMs = 10_000,
  }: RedisBusOptions) {
    this.#startTimeoutMs = startTimeoutMs;
    const keys = keysWith(prefix);
    this.#subscriptions = new Subscriptions(url, log, () => this.#health.probeNow());
    this.#commands = new Commands(url, log, (reason) => this.#health.connection(reason));
    this.#health = new Health(this.#commands, this.#subscriptions, keys.probe(nanoid()), log);
    this.leases = new RedisLeases(this.#commands, keys);
    this.outboxes = new RedisOutboxes(this.#commands, this.#subscriptions, keys);
    this.receipts = new RedisReceipts(url, this.#commands, keys, log);
    this.presence = new RedisPresence(this.#commands, keys);
    this.directory = new RedisDirectory(this.#commands, this.#subscriptions, keys);
  }

  async start(): Promise<void> {
    if (this.#stopping !== null) throw new BusUnavailable('the bus was stopped');
    this.#commands.open();
    this.#subscriptions.open();
    try {
      await this.#health.start(this.#startTimeoutMs);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  status(): BusStatus {
    return this.#health.status();
  }

  async #stop(): Promise<void> {
    // Consumers end first: they still acknowledge what they applied.
    await this.receipts.stop();
    this.#health.stop();
    await Promise.all([this.#subscriptions.close(), this.#commands.close()]);
  }
}
