/** The ledger's events, and single values (`meta`). */
import type { LedgerEvent } from '../records.ts';

export interface Events {
  /** Appends in commit order: no reader sees a number before a smaller one. */
  append(events: readonly { at: number; type: string; data: unknown }[]): Promise<void>;
  after(seq: number, limit: number): Promise<LedgerEvent[]>;
  /** Number of the first stored event that is not older; `null` if all are older. */
  firstSince(at: number): Promise<number | null>;
  /** Smallest and largest stored number; 0 and 0 if there is none. */
  bounds(): Promise<{ first: number; last: number }>;
  /** Drops events older than `before` and all but the newest `keep`. */
  prune(before: number, keep: number): Promise<number>;
}

/** Named single values: the signing key, the directory's epoch. */
export interface Meta {
  /** The database's clock, milliseconds since the Unix epoch; `null` if it uses this process's clock. */
  clock(): Promise<number | null>;
  get(key: string): Promise<string | null>;
  /** Sets the value if there is none; returns the stored one. */
  setOnce(key: string, value: string): Promise<string>;
  set(key: string, value: string): Promise<void>;
  setMany(rows: readonly { key: string; value: string }[]): Promise<void>;
  /** Sets the value if the stored one is `before` (`null`: none); returns whether it did. */
  replace(key: string, before: string | null, value: string): Promise<boolean>;
  /** Values whose key begins with `prefix`. */
  list(prefix: string): Promise<{ key: string; value: string }[]>;
  delete(keys: readonly string[]): Promise<void>;
  /**
   * Takes or renews the lease `key` until `now + ttlMs`; `false` while another owner holds it. A `ttlMs` of 0
   * returns it. Times come from the callers' clocks.
   */
  hold(key: string, owner: string, ttlMs: number, now: number): Promise<boolean>;
}
