/**
 * The few things the two databases do differently. Everything else in this folder is their common subset of
 * SQL.
 */
import type { Kysely, RawBuilder, Transaction } from 'kysely';
import type { Migration } from './migrations/migration.ts';
import type { Schema } from './schema.ts';
import { storableText } from './storable-text.ts';

export type Database = Kysely<Schema> | Transaction<Schema>;

/** Names and types of the columns of a table that is passed as one parameter. */
export type Columns = Readonly<Record<string, 'text' | 'integer'>>;
export type RowOf<C extends Columns> = {
  readonly [K in keyof C]: (C[K] extends 'text' ? string : number) | null;
};

/** Stands in a statement for the value a row has in that column. */
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
  /** Opens the database; rejects with what the driver says. */
  open(): Promise<Kysely<Schema>>;
  /**
   * The same with one connection whose statements are not given up: a step of the schema may read large
   * tables. Absent where none is given up anyway.
   */
  openToMigrate?(): Promise<Kysely<Schema>>;
  /** A table expression named `r` of these rows, passed as one JSON parameter. */
  rowsOf<C extends Columns>(columns: C, rows: readonly RowOf<C>[]): RawBuilder<unknown>;
  /**
   * Runs a statement once for each row, in order, with the row's values in place of every `RowValue`; returns
   * the rows for which it changed something. Absent where one statement for all rows is faster.
   */
  runForEach?<R>(db: Database, statement: RawBuilder<unknown>, rows: readonly R[]): R[];
  /**
   * Resolves when what was committed before the call is on the disk: to be waited for before anybody is
   * answered. Absent where a commit says so itself.
   */
  durable?(): Promise<void>;
  /** Ends a SELECT whose rows of `table` (its alias) the transaction will change. */
  forUpdate(table: string): RawBuilder<unknown>;
  /** The same, without those that another transaction changes just now. */
  forUpdateOfFree(table: string): RawBuilder<unknown>;
  /**
   * Follows a table's alias: SQLite, left to itself, prefers the primary key to an index with few entries.
   */
  byIndex(name: string): RawBuilder<unknown>;
  /**
   * Holds `name` until the transaction ends; one holder at a time. SQLite needs none: its write transactions
   * follow one another anyway.
   */
  lock(db: Database, name: LockName): Promise<void>;
  /** The database cannot be reached, is full, or did not answer in time: `StoreUnavailable`. */
  isUnavailable(error: unknown): boolean;
  /** The transaction lost against another one and may be tried again from its start. */
  isConflict(error: unknown): boolean;
  /** A row with that key exists already. */
  isDuplicate(error: unknown): boolean;
}

/**
 * Arbitrary constants, distinct from each other, known to every version.
 *
 * Every transaction takes its locks in one order, so that no two wait for each other: at its beginning
 * one of `groups`, `tunnels`, `firstToken`, `authorities`, and then `groupKeys`; then rows, those of one
 * statement in the order of their key (`bulkUpdate`, `forUpdate`); `events` last, which is why events
 * are collected and appended just before the commit. That also keeps it short, for all that append wait
 * for it. What still loses is run again, and counted (`pushpoint_admin_store_conflicts_total`).
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

/** Rows in the order of the columns' names, with text both databases can keep. */
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
