import type { Logger } from 'pino';
import { type BusStatus, BusUnavailable } from '../bus.ts';
import type { Commands } from './commands.ts';
import { reasonOf } from './errors.ts';
import type { Subscriptions } from './subscriptions.ts';

const PROBE_INTERVAL_MS = 5_000;
/** While something is wrong. */
const PROBE_AGAIN_MS = 1_000;
/** Probes in a row that may fail to come back through the subscription before it is given up for a new one. */
const ECHOES_MISSED = 2;

/**
 * Whether the bus works. Connected is not enough: Redis may refuse writes (full memory, a replica since a failover), and
 * a subscription may look alive and bring nothing. So every few seconds something is written, announced, and expected
 * back.
 */
export class Health {
  readonly #commands: Commands;
  readonly #subscriptions: Subscriptions;
  readonly #probeKey: string;
  readonly #log: Logger;
  #reason: string | null = 'not started';
  #since = Date.now();
  #connected = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #probing = false;
  #probeAgain = false;
  #echoed = true;
  #echoesMissed = 0;
  #listening = false;
  #changed: () => void = () => {};

  constructor(commands: Commands, subscriptions: Subscriptions, probeKey: string, log: Logger) {
    this.#commands = commands;
    this.#subscriptions = subscriptions;
    this.#probeKey = probeKey;
    this.#log = log;
  }

  /** Resolves once the bus works; rejects with `BusUnavailable` and the reason when it does not within `timeoutMs`. */
  async start(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    this.probeNow();
    while (this.#reason !== null) {
      const left = deadline - performance.now();
      if (left <= 0 || this.#stopped) throw new BusUnavailable(`Redis: ${this.#reason}`);
      await this.#change(left);
    }
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    if (this.#reason === null) this.#since = Date.now();
    this.#reason = 'the bus was stopped';
    this.#changed();
  }

  status(): BusStatus {
    return this.#reason === null
      ? { available: true, since: this.#since }
      : { available: false, since: this.#since, reason: this.#reason };
  }

  /** The commands connection became usable (`null`) or ceased to be (why). */
  connection(reason: string | null): void {
    if (this.#stopped) return;
    this.#connected = reason === null;
    if (reason === null) this.probeNow();
    else this.#become(reason);
  }

  /** Something may have changed. */
  probeNow(): void {
    if (this.#probing) this.#probeAgain = true;
    else this.#schedule(0);
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(async () => {
      this.#probing = true;
      do {
        this.#probeAgain = false;
        if (this.#connected) await this.#probe();
      } while (this.#probeAgain && !this.#stopped);
      this.#probing = false;
      this.#schedule(this.#reason === null ? PROBE_INTERVAL_MS : PROBE_AGAIN_MS);
    }, delayMs);
  }

  async #probe(): Promise<void> {
    this.#subscriptions.ping();
    try {
      await this.#commands.do((client) => client.set(this.#probeKey, '', 'PX', PROBE_INTERVAL_MS * 3));
      await this.#probeSubscription();
      if (this.#connected) this.#become(null);
    } catch (error) {
      if (this.#connected) this.#become(reasonOf(error));
    }
  }

  async #probeSubscription(): Promise<void> {
    if (!this.#listening) {
      await this.#subscriptions.on(this.#probeKey, () => {
        this.#echoed = true;
      });
      this.#listening = true;
    }
    this.#echoesMissed = this.#echoed ? 0 : this.#echoesMissed + 1;
    if (this.#echoesMissed >= ECHOES_MISSED && this.#subscriptions.live) {
      this.#log.warn('the subscription to Redis brings nothing, connecting it anew');
      this.#echoesMissed = 0;
      this.#subscriptions.reconnect();
    }
    this.#echoed = false;
    await this.#commands.do((client) => client.publish(this.#probeKey, ''));
    if (!this.#subscriptions.live) throw new BusUnavailable('the subscription is not connected');
  }

  #become(reason: string | null): void {
    if (this.#stopped) return;
    const was = this.#reason;
    this.#reason = reason;
    if ((was === null) !== (reason === null)) {
      this.#since = Date.now();
      if (reason === null) this.#log.info('Redis is available');
      else this.#log.warn({ reason }, 'Redis is not available');
    }
    this.#changed();
  }

  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#changed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
