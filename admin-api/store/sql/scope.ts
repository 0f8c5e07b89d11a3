/**
 * Where the store's files run their statements: in the open database, or in a caller's transaction. A scope
 * turns the drivers' errors into `StoreUnavailable` and repeats transactions that lost against another one.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import { StoreUnavailable } from '../store.ts';
import { StoreSettingsError } from '../store-settings-error.ts';
import { GroupCommit } from './group-commit.ts';
import { migrate } from './migrations/migrate.ts';
import type { Schema } from './schema.ts';
import type { Database, SqlDialect } from './sql-dialect.ts';

export interface Scope {
  readonly dialect: SqlDialect;
  /** Runs a single statement without opening a transaction. */
  once<T>(work: (db: Database) => Promise<T>): Promise<T>;
  /**
   * The same for a query that decides only what a later transaction writes. It does not wait for the disk:
   * what it read reaches the disk before that transaction does.
   */
  ahead<T>(query: (db: Database) => Promise<T>): Promise<T>;
  /** All or nothing; joins the caller's transaction when there is one. `work` may run more than once. */
  atomic<T>(work: (db: Database) => Promise<T>): Promise<T>;
}

const ATTEMPTS = 6;
const RETRY_DELAY_MS = 20;

/** An event as it is stored. */
export interface EventRow {
  at: number;
  type: string;
  data: string;
}

/** The scope of a store that `transaction` handed out. */
export class JoinedScope implements Scope {
  readonly dialect: SqlDialect;
  /** Events that the transaction appends just before it commits. */
  readonly events: EventRow[] = [];
  readonly #db: Database;
  constructor(dialect: SqlDialect, db: Database) {
    this.dialect = dialect;
    this.#db = db;
  }
  once<T>(work: (db: Database) => Promise<T>): Promise<T> {
    return work(this.#db);
  }
  ahead<T>(query: (db: Database) => Promise<T>): Promise<T> {
    return query(this.#db);
  }
  atomic<T>(work: (db: Database) => Promise<T>): Promise<T> {
    return work(this.#db);
  }
}

/** The scope of the store itself. */
export class OuterScope implements Scope {
  readonly dialect: SqlDialect;
  #db: Kysely<Schema> | undefined;
  #opening: Promise<void> | undefined;
  readonly #groupCommit: GroupCommit | undefined;
  /** Attempts that lost against another transaction and were repeated. */
  conflicts = 0;
  /** Set while code runs inside a transaction of this scope; absent without `checkNesting`. */
  readonly #inside: AsyncLocalStorage<{ open: boolean }> | undefined;

  /** `checkNesting`: see `StoreOptions`. */
  constructor(dialect: SqlDialect, checkNesting: boolean) {
    this.dialect = dialect;
    this.#groupCommit = dialect.oneConnection ? new GroupCommit(() => dialect.durable?.()) : undefined;
    this.#inside = checkNesting ? new AsyncLocalStorage() : undefined;
  }

  open(now: number): Promise<void> {
    this.#opening ??= this.#open(now).finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(now: number): Promise<void> {
    if (this.#db !== undefined) return;
    let db: Kysely<Schema> | undefined;
    let patient: Kysely<Schema> | undefined;
    try {
      db = await this.dialect.open();
      patient = await this.dialect.openToMigrate?.();
      await migrate(patient ?? db, this.dialect, now);
      this.#db = db;
    } catch (error) {
      await db?.destroy();
      // Waiting does not help at the start. Later the store is unavailable until a person has fixed it.
      throw error instanceof StoreSettingsError ? error : this.#translated(error);
    } finally {
      await patient?.destroy();
    }
  }

  /** Also closes a database that is still opening. */
  async close(): Promise<void> {
    await this.#opening?.catch(() => undefined);
    const db = this.#db;
    this.#db = undefined;
    await db?.destroy();
  }

  once<T>(work: (db: Database) => Promise<T>): Promise<T> {
    return this.#attempts(async (db) => {
      const value = await work(db);
      // After reads, too: no caller may learn something that a power cut could undo.
      await this.dialect.durable?.();
      return value;
    });
  }

  ahead<T>(query: (db: Database) => Promise<T>): Promise<T> {
    return this.#attempts(query);
  }

  atomic<T>(work: (db: Database) => Promise<T>): Promise<T> {
    const checked = this.#inside ? this.#checked(this.#inside, work) : work;
    return this.#attempts(async (db) => {
      if (this.#groupCommit) return this.#groupCommit.run(db, checked);
      return db.transaction().execute(checked);
    });
  }

  #checked<T>(inside: AsyncLocalStorage<{ open: boolean }>, work: (db: Database) => Promise<T>) {
    return async (tx: Database): Promise<T> => {
      const state = { open: true };
      try {
        return await inside.run(state, () => work(tx));
      } finally {
        state.open = false;
      }
    };
  }

  async #attempts<T>(work: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      // SQLite has one connection: this call would wait for the transaction that waits for this call.
      if (this.#inside?.getStore()?.open === true) {
        throw new Error('inside a transaction, use the store that the transaction hands out');
      }
      if (this.#db === undefined) throw new StoreUnavailable('the store is not open');
      try {
        return await work(this.#db);
      } catch (error) {
        const conflict = this.dialect.isConflict(error);
        if (conflict) this.conflicts++;
        if (attempt === ATTEMPTS || !conflict) throw this.#translated(error);
      }
      await delay(Math.random() * RETRY_DELAY_MS * attempt);
    }
  }

  #translated(error: unknown): unknown {
    if (error instanceof StoreUnavailable) return error;
    const unavailable = this.dialect.isUnavailable(error) || this.dialect.isConflict(error);
    if (!unavailable) return error;
    return new StoreUnavailable(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
