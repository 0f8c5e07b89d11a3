/** What devices of a swarm say: one file in `dialects/` for each kind of server. */
import type { Connection } from './connection.ts';

export interface Dialect {
  /** The request that opens the WebSocket, for `path` and the headers beyond those every WebSocket has. */
  readonly path: string;
  readonly headers: readonly string[];
  /** Public keys of the devices `from` to `to` (exclusive), for dialects whose devices have some. */
  prepare?(from: number, to: number): Uint8Array[];
  /** The WebSocket is open. A dialect without admission calls `connection.ready()` here. */
  opened(connection: Connection): void;
  /** `payload` is only valid during the call. */
  message(connection: Connection, payload: Uint8Array, opcode: number): void;
  /** Sends a ready connection's heartbeat; absent: there is none. */
  heartbeat?(connection: Connection): void;
  /** Milliseconds between two heartbeats of one connection. */
  heartbeatMs?: number;
  /** Commands take devices this many milliseconds from now on; at first none. */
  work?(ms: number): void;
}

/** The parts that a dialect works with. */
export interface DialectTools {
  marks: Marks;
  counters: Counters;
  options: Readonly<Record<string, string>>;
}

export type DialectFactory = (tools: DialectTools) => Dialect;

/** Counts of events, by name. */
export class Counters {
  readonly values: Record<string, number> = {};
  add(name: string, count = 1): void {
    this.values[name] = (this.values[name] ?? 0) + count;
  }
}

/**
 * When things happened, on the clock that all processes share: lists of times by kind and key, a command's id
 * for example.
 */
export class Marks {
  readonly #kinds = new Map<string, Map<string, number[]>>();

  add(kind: string, key: string, at: number): void {
    let keys = this.#kinds.get(kind);
    if (!keys) {
      keys = new Map();
      this.#kinds.set(kind, keys);
    }
    const times = keys.get(key);
    if (times) times.push(at);
    else keys.set(key, [at]);
  }

  /** How many there are of a kind under a key. */
  count(kind: string, key: string): number {
    return this.#kinds.get(kind)?.get(key)?.length ?? 0;
  }

  /** Hands over all of a kind and forgets them. */
  take(kind: string): Map<string, number[]> {
    const keys = this.#kinds.get(kind) ?? new Map<string, number[]>();
    this.#kinds.delete(kind);
    return keys;
  }
}
