import type { Logger } from 'pino';
import { type Argument, type Client, close, newClient, open } from './client.ts';
import { asBusError, reasonOf, replyCode } from './errors.ts';
import type { Script } from './script.ts';
import { SCRIPTS } from './scripts/index.ts';

/**
 * The connection for everything that does not block. What is asked in one turn of the event loop goes out together
 * (auto-pipelining), in order.
 */
export class Commands {
  readonly #client: Client;
  readonly #log: Logger;
  readonly #onState: (reason: string | null) => void;
  #lastError = 'not connected yet';

  /** `onState` is told whenever the connection becomes usable (`null`) or ceases to be (why). */
  constructor(url: string, log: Logger, onState: (reason: string | null) => void) {
    this.#log = log;
    this.#onState = onState;
    this.#client = newClient(url, {
      commandTimeout: 2_000,
      enableAutoPipelining: true,
      // A connection that is half open is given up, not only the commands on it.
      socketTimeout: 5_000,
    });
    this.#client.on('error', (error: Error) => {
      this.#lastError = reasonOf(error);
    });
    this.#client.on('ready', () => this.#loadScripts());
    this.#client.on('close', () => this.#onState(this.#lastError));
  }

  open(): void {
    open(this.#client);
  }

  close(): Promise<void> {
    return close(this.#client);
  }

  /** Runs a script; binary in its result comes as Buffer. Rejects with `BusUnavailable`, or with a fault of ours. */
  async run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    try {
      return await this.#client.evalshaBuffer(script.sha, keys.length, ...keys, ...args);
    } catch (error) {
      // Only after somebody emptied Redis' script cache: all scripts are loaded with every new connection.
      if (replyCode(error) !== 'NOSCRIPT') throw asBusError(error);
    }
    return this.do((client) => client.evalBuffer(script.lua, keys.length, ...keys, ...args));
  }

  /** Runs a plain command. Rejects like `run`. */
  async do<T>(command: (client: Client) => Promise<T>): Promise<T> {
    try {
      return await command(this.#client);
    } catch (error) {
      throw asBusError(error);
    }
  }

  /** Before the first use: `run` could bring a missing script itself, but not without changing the order of calls. */
  async #loadScripts(): Promise<void> {
    this.#lastError = 'connection closed';
    try {
      for (const script of Object.values(SCRIPTS)) await this.#client.script('LOAD', script.lua);
    } catch (error) {
      if (this.#client.status !== 'ready') return;
      this.#log.warn({ reason: reasonOf(error) }, 'Redis did not load the scripts of the bus');
    }
    this.#onState(null);
  }
}
