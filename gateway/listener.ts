/**
 * Whether, and where, the worker listens: as its settings say, while there is room. A full worker stops listening, so that the
 * kernel sends newcomers to its siblings, and listens again below 85 %.
 */
import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { GatewaySettings } from '../bus/bus.ts';
import type { PushServer } from './push-server.ts';

const LOW_WATER = 0.85;
/** Share of the process's file descriptors that connections may take; beyond, accept would spin at EMFILE. */
const DESCRIPTOR_SHARE = 0.9;

export class Listener {
  readonly #server: PushServer;
  readonly #connections: () => number;
  readonly #descriptorLimit: number;
  readonly #log: Logger;
  #settings: GatewaySettings;
  #full = false;
  #closed = false;
  #problem: string | undefined;

  constructor(server: PushServer, settings: GatewaySettings, connections: () => number, log: Logger) {
    this.#server = server;
    this.#settings = settings;
    this.#connections = connections;
    this.#descriptorLimit = Math.floor(fileDescriptorLimit() * DESCRIPTOR_SHARE);
    this.#log = log;
  }

  /** Connections the worker takes at most. */
  get limit(): number {
    return Math.min(this.#settings.connectionLimit, this.#descriptorLimit);
  }

  get full(): boolean {
    return this.#full;
  }

  /** Why it does not listen as its settings say. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Listens as `settings` say. Throws `PortUnavailable`; then it goes on as it was, and tries again at the next call. */
  apply(settings: GatewaySettings): void {
    this.#settings = settings;
    this.#full = this.#connections() >= this.limit * (this.#full ? LOW_WATER : 1);
    try {
      this.#follow();
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : String(error);
      throw error;
    }
    this.#problem = undefined;
  }

  /** A connection opened or closed. */
  changed(): void {
    const count = this.#connections();
    if (this.#full ? count >= this.limit * LOW_WATER : count < this.limit) return;
    this.#full = !this.#full;
    this.#log.info({ connections: count, limit: this.limit, full: this.#full }, 'connection limit');
    try {
      this.#follow();
      this.#problem = undefined;
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : String(error);
      this.#log.error({ err: error }, 'not listening again');
    }
  }

  /** Listens no more, whatever changes. */
  close(): void {
    this.#closed = true;
    this.#server.unlisten();
  }

  #follow(): void {
    if (this.#closed || this.#full || !this.#settings.runPushServer) {
      this.#server.unlisten();
      return;
    }
    this.#server.listen(this.#settings.port);
  }
}

/** File descriptors this process may have open; what cannot be found out counts as 1,024. */
export function fileDescriptorLimit(): number {
  try {
    const line = readFileSync('/proc/self/limits', 'utf8').match(/^Max open files\s+(\S+)/m)?.[1];
    return line === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(line) || 1_024;
  } catch {
    return 1_024;
  }
}
