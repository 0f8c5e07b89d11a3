/** The ledger's events, and single values (`meta`). */
import type { LedgerEvent } from '../records.ts';

export interface Events {
  /**
   * Appends in commit order: no reader ever sees a number before a smaller one (PostgreSQL takes an advisory
   * lock).
   */
  append(events: readonly { at: number; type: string; data: unknown }[]): Promise<void>;
  after(seq: number, limit: number): Promise<LedgerEvent[]>;
  /** Number of the first one kept that is not older; `null` when all are. */
  firstSince(at: number): Promise<number | null>;
  /** Smallest and largest recorded number; 0 and 0 when there is none. */
  bounds(): Promise<{ first: number; last: number }>;
  /** Drops events older than `before` and all but the newest `keep`. */
  prune(before: number, keep: number): Promise<number>;
}

/** Named single values: the signing key, the directory's epoch. */
export interface Meta {
  /**
   * The database's own clock, milliseconds since the Unix epoch; `null` where it has that of this process.
   */
  clock(): Promise<number | null>;
  get(key: string): Promise<string | null>;
  /** Sets the value if there is none; returns the recorded one afterwards. */
  setOnce(key: string, value: string): Promise<string>;
  set(key: string, value: string): Promise<void>;
  setMany(rows: readonly { key: string; value: string }[]): Promise<void>;
  /** Sets the value if the recorded one is `before`, `null` for none; whether it did. */
  replace(key: string, before: string | null, value: string): Promise<boolean>;
  /** Those whose key begins with `prefix`. */
  list(prefix: string): Promise<{ key: string; value: string }[]>;
  delete(keys: readonly string[]): Promise<void>;
  /**
   * Takes or keeps the lease `key` until `now + ttlMs`; `false` while another owner holds it. With a `ttlMs`
   * of 0 the owner gives it back. Times are the callers' clocks.
   */
  hold(key: string, owner: string, ttlMs: number, now: number): Promise<boolean>;
}
