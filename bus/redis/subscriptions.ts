import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { close, newClient, open } from './client.ts';
import { asBusError, reasonOf } from './errors.ts';

/**
 * The connection that hints arrive on. Hints are lost while it is away, so every time it is back, and all channels are
 * subscribed to again, every callback is called.
 */
export class Subscriptions {
  readonly #client: Redis;
  readonly #log: Logger;
  readonly #onLive: () => void;
  readonly #callbacks = new Map<string, Set<() => void>>();
  #live = false;

  /** `onLive` is called every time the connection is live (again). */
  constructor(url: string, log: Logger, onLive: () => void) {
    this.#onLive = onLive;
    this.#log = log;
    this.#client = newClient(url, {
      // With the pings that `ping` sends: a half-open connection is found out.
      socketTimeout: 10_000,
    });
    this.#client.on('error', (error: Error) =>
      this.#log.debug({ reason: reasonOf(error) }, 'subscriber connection'),
    );
    this.#client.on('ready', () => this.#renew());
    this.#client.on('close', () => {
      this.#live = false;
    });
    this.#client.on('message', (channel: string) => this.#call(channel));
  }

  open(): void {
    open(this.#client);
  }

  async close(): Promise<void> {
    this.#callbacks.clear();
    await close(this.#client);
  }

  /** Connected, and subscribed to every channel. */
  get live(): boolean {
    return this.#live;
  }

  /** Calls `callback` after each message. Returns the way to stop. Rejects with `BusUnavailable`. */
  async on(channel: string, callback: () => void): Promise<() => Promise<void>> {
    // A function given twice is two registrations, so each gets an entry of its own.
    const entry = () => callback();
    const callbacks = this.#callbacks.get(channel) ?? new Set();
    callbacks.add(entry);
    this.#callbacks.set(channel, callbacks);
    try {
      await this.#client.subscribe(channel);
    } catch (error) {
      this.#forget(channel, entry);
      throw asBusError(error);
    }
    return async () => {
      if (!this.#forget(channel, entry)) return;
      await this.#client.unsubscribe(channel).catch((error: unknown) => {
        // The connection is away, and the channel is not among those it subscribes to when it is back.
        this.#log.debug({ reason: reasonOf(error), channel }, 'unsubscribe');
      });
    };
  }

  /** Keeps traffic on the connection, see `socketTimeout`. */
  ping(): void {
    if (this.#client.status !== 'ready') return;
    this.#client
      .ping()
      .catch((error: unknown) => this.#log.debug({ reason: reasonOf(error) }, 'subscriber ping'));
  }

  /** Gives the connection up for a new one: it looks alive but brings nothing. */
  reconnect(): void {
    this.#live = false;
    this.#client.disconnect(true);
  }

  /** True when that was the last callback of the channel. */
  #forget(channel: string, entry: () => void): boolean {
    const callbacks = this.#callbacks.get(channel);
    if (callbacks?.delete(entry) !== true || callbacks.size > 0) return false;
    this.#callbacks.delete(channel);
    return true;
  }

  async #renew(): Promise<void> {
    const channels = [...this.#callbacks.keys()];
    try {
      if (channels.length > 0) await this.#client.subscribe(...channels);
    } catch (error) {
      this.#log.debug({ reason: reasonOf(error) }, 'subscribing again');
      this.#client.disconnect(true);
      return;
    }
    this.#live = true;
    this.#onLive();
    for (const channel of channels) this.#call(channel);
  }

  #call(channel: string): void {
    for (const callback of [...(this.#callbacks.get(channel) ?? [])]) {
      try {
        callback();
      } catch (error) {
        this.#log.error({ err: error, channel }, 'a hint callback failed');
      }
    }
  }
}
