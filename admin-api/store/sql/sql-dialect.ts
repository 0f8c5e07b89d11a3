/** The few things that the two databases do differently. All other SQL of the store runs on both. */
import type { Kysely, RawBuilder, Transaction } from 'kysely';
import type { Migration } from './migrations/migration.ts';
import type { Schema } from './schema.ts';
import { storableText } from './storable-text.ts';

export type Database = Kysely<Schema> | Transaction<Schema>;

/** Names and types of the columns of rows that are passed as one parameter. */
export type Columns = Readonly<Record<string, 'text' | 'integer'>>;
export type RowOf<C extends Columns> = {
  readonly [K in keyof C]: (C[K] extends 'text' ? string : number) | null;
};

/** A placeholder in a statement for a row's value of that column. */
export class RowValue {
  readonly column: string;
  constructor(column: string) {
    this.column = column;
  }
}

export interface SqlDialect {
  readonly kind: 'sqlite' | 'postgres';
  /** Transactions wait for each other; they are committed in groups. */
  readonly oneConnection: boolean;
  readonly migrations: readonly Migration[];
  /** Opens the database; rejects with the driver's error. */
  open(): Promise<Kysely<Schema>>;
  /**
   * The same with one connection that has no statement timeout: a migration may read large tables. Absent if
   * statements have no timeout anyway.
   */
  openToMigrate?(): Promise<Kysely<Schema>>;
  /** A table expression named `r` that holds these rows, passed as one JSON parameter. */
  rowsOf<C extends Columns>(columns: C, rows: readonly RowOf<C>[]): RawBuilder<unknown>;
  /**
   * Runs a statement once for each row, in order, with the row's values in place of every `RowValue`; returns
   * the rows for which it changed something. Absent if one statement for all rows is faster.
   */
  runForEach?<R>(db: Database, statement: RawBuilder<unknown>, rows: readonly R[]): R[];
  /**
   * Resolves when everything committed before the call is on the disk. Wait for it before answering anybody.
   * Absent if a commit itself waits for the disk.
   */
  durable?(): Promise<void>;
  /** Locks the selected rows of `table` (an alias), which the transaction will change. Ends a SELECT. */
  forUpdate(table: string): RawBuilder<unknown>;
  /** The same, but skips rows that another transaction is changing. */
  forUpdateOfFree(table: string): RawBuilder<unknown>;
  /** Goes after a table's alias. Without it, SQLite prefers the primary key to an index with few entries. */
  byIndex(name: string): RawBuilder<unknown>;
  /**
   * Locks `name` until the transaction ends. SQLite needs no lock: its write transactions run one after
   * another anyway.
   */
  lock(db: Database, name: LockName): Promise<void>;
  /** Whether the database cannot be reached, is full, or did not answer in time: `StoreUnavailable`. */
  isUnavailable(error: unknown): boolean;
  /** Whether the transaction lost against another one and may be repeated from its start. */
  isConflict(error: unknown): boolean;
  /** Whether a row with that key exists already. */
  isDuplicate(error: unknown): boolean;
}

/**
 * Numbers of the advisory locks: arbitrary, distinct, and the same in every version.
 *
 * All transactions take their locks in one order, so that no two wait for each other. First one of `groups`,
 * `tunnels`, `firstToken` and `authorities`, then `groupKeys`; then rows, those of one statement in the order
 * of their key (`bulkUpdate`, `forUpdate`). `events` comes last, so events are collected and appended just
 * before the commit. That keeps the lock short, because every transaction with events waits for it. A
 * transaction that still loses is repeated and counted (`pushpoint_admin_store_conflicts_total`).
 */
export const LOCKS = {
  migrate: 7_361_001,
  events: 7_361_002,
  groups: 7_361_003,
  tunnels: 7_361_004,
  firstToken: 7_361_005,
  authorities: 7_361_006,
  groupKeys: 7_361_007,
} as const;
export type LockName = keyof typeof LOCKS;

/** Rows as lists, in the order of the columns' names, with text that both databases can keep. */
export function storableRows<C extends Columns>(
  columns: C,
  rows: readonly RowOf<C>[],
): (string | number | null)[][] {
  const names = Object.keys(columns);
  return rows.map((row) =>
    names.map((name) => {
      const value = row[name] ?? null;
      return typeof value === 'string' ? storableText(value) : value;
    }),
  );
}
