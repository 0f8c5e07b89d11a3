/**
 * SQLite in one file, through @photostructure/sqlite, which has the API of node:sqlite. Kysely's own SQLite
 * dialect expects better-sqlite3; `StatementCache` gives it that shape.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite';
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  Kysely,
  SqliteAdapter,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from 'kysely';
import { Checkpoints } from './checkpoints.ts';
import { SQLITE_MIGRATIONS } from './migrations/sqlite.ts';
import type { Schema } from './schema.ts';
import { RowValue, type SqlDialect, storableRows } from './sql-dialect.ts';
import { storableText } from './storable-text.ts';
import { LogNotSynced, WriteAheadLog } from './write-ahead-log.ts';

/** A statement waits this long, and blocks the process, for another process that writes to the file. */
const BUSY_TIMEOUT_MS = 2_000;
const STATEMENTS_MAX = 500;
/**
 * The write-ahead log is copied back at this many pages. Batches touch rows all over the file, so copying a
 * page once for many batches is cheaper. At four times as many pages SQLite does it by itself.
 */
const CHECKPOINT_PAGES = 16_000;
/** Statements that may change rows. Taking another statement for one only costs a sync. */
const WRITES = /\b(insert|update|delete|create|drop|alter)\b/i;

/** Primary result codes (sqlite.org/rescode.html): busy, locked, read-only, I/O error, full, cannot open. */
const UNAVAILABLE_CODES: ReadonlySet<number> = new Set([5, 6, 8, 10, 13, 14]);
const CONSTRAINT_PRIMARY_KEY = 1555;
const CONSTRAINT_UNIQUE = 2067;

export function sqliteDialect(file: string): SqlDialect {
  let statements: StatementCache | undefined;
  let log: WriteAheadLog | undefined;
  return {
    kind: 'sqlite',
    oneConnection: true,
    migrations: SQLITE_MIGRATIONS,
    async open() {
      const database = await openFile(file);
      log = new WriteAheadLog(`${file}-wal`, new Checkpoints(database, file, CHECKPOINT_PAGES));
      statements = new StatementCache(database, log);
      return new Kysely<Schema>({ dialect: fileDialect(database, statements, log) });
    },
    rowsOf(columns, rows) {
      const [only, ...others] = Object.keys(columns);
      const values = storableRows(columns, rows);
      if (only !== undefined && others.length === 0) {
        // A flat list, because reading a field of a nested row costs as much as the row.
        return sql`(select value as ${sql.ref(only)} from json_each(${JSON.stringify(values.flat())})) as r`;
      }
      const json = JSON.stringify(values);
      const list = Object.keys(columns).map((name, i) => sql`value ->> ${sql.lit(i)} as ${sql.ref(name)}`);
      return sql`(select ${sql.join(list)} from json_each(${json})) as r`;
    },
    runForEach(db, query, rows) {
      if (!statements) throw new Error('the database is not open');
      const { sql: text, parameters } = query.compile(db);
      return runForEach(statements.prepare(text), parameters, rows);
    },
    durable: async () => log?.onDisk(),
    forUpdate: () => sql``,
    forUpdateOfFree: () => sql``,
    byIndex: (name) => sql`indexed by ${sql.ref(name)}`,
    async lock() {},
    isUnavailable: (error) =>
      error instanceof LogNotSynced || UNAVAILABLE_CODES.has(resultCode(error) & 0xff),
    isConflict: () => false,
    isDuplicate: (error) => [CONSTRAINT_PRIMARY_KEY, CONSTRAINT_UNIQUE].includes(resultCode(error)),
  };
}

/** SQLite's extended result code; 0 for errors that are not SQLite's. */
function resultCode(error: unknown): number {
  const code = (error as { sqliteExtendedCode?: unknown } | null)?.sqliteExtendedCode;
  return typeof code === 'number' ? code : 0;
}

async function openFile(file: string): Promise<DatabaseSyncInstance> {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  // Created here with mode 0600, which the write-ahead log inherits.
  closeSync(openSync(file, 'a', 0o600));
  const database = new DatabaseSync(file);
  try {
    database.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`);
    await useWriteAheadLog(database);
    // Syncs the log before its pages are copied back. `WriteAheadLog` sees to it that a commit reaches the
    // disk before anybody is answered.
    database.exec('pragma synchronous = normal');
    database.exec('pragma foreign_keys = on');
    database.exec('pragma temp_store = memory');
    database.exec(`pragma wal_autocheckpoint = ${4 * CHECKPOINT_PAGES}`);
    database.exec('pragma cache_size = -32768');
    database.exec('pragma journal_size_limit = 134217728');
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

/** Changing the journal mode needs exclusive use of the file, and does not wait for it as statements do. */
async function useWriteAheadLog(database: DatabaseSyncInstance): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      database.exec('pragma journal_mode = wal');
      return;
    } catch (error) {
      if ((resultCode(error) & 0xff) !== 5 || attempt === 20) throw error;
      await delay(50);
    }
  }
}

function fileDialect(
  database: DatabaseSyncInstance,
  statements: StatementCache,
  log: WriteAheadLog,
): Dialect {
  return {
    createDriver: () => new FileDriver(database, statements, log),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createAdapter: () => new SqliteAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
  };
}

class FileDriver extends SqliteDriver {
  readonly #database: DatabaseSyncInstance;
  readonly #log: WriteAheadLog;
  constructor(database: DatabaseSyncInstance, statements: StatementCache, log: WriteAheadLog) {
    super({ database: statements });
    this.#database = database;
    this.#log = log;
  }
  /** Takes the write lock at once: a transaction that has read already could not wait for it. */
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }
  /** After some errors (disk full) SQLite rolls back by itself; a second rollback would hide the error. */
  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#database.isTransaction) await connection.executeQuery(CompiledQuery.raw('rollback'));
  }
  override async destroy(): Promise<void> {
    await this.#log.close();
    await super.destroy();
  }
}

interface Statement {
  readonly reader: boolean;
  all(parameters: readonly unknown[]): unknown[];
  run(parameters: readonly unknown[]): { changes: number | bigint; lastInsertRowid: number | bigint };
  iterate(parameters: readonly unknown[]): IterableIterator<unknown>;
}

/**
 * The part of better-sqlite3 that Kysely's SQLite driver uses. Keeps prepared statements, because preparing
 * costs more than running most of them.
 */
class StatementCache {
  readonly #database: DatabaseSyncInstance;
  readonly #log: WriteAheadLog;
  readonly #statements = new Map<string, Statement>();
  /** There are writes that are not committed. */
  #written = false;
  constructor(database: DatabaseSyncInstance, log: WriteAheadLog) {
    this.#database = database;
    this.#log = log;
  }

  prepare(text: string): Statement {
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const oldest = this.#statements.keys().next();
    if (this.#statements.size >= STATEMENTS_MAX && !oldest.done) this.#statements.delete(oldest.value);
    const statement = shaped(this.#database.prepare(text), WRITES.test(text) ? this.#wrote : this.#ran);
    this.#statements.set(text, statement);
    return statement;
  }

  readonly #wrote = (): void => {
    this.#written = true;
    this.#ran();
  };

  /** Called after each statement. Outside a transaction, and at its end, this means a commit. */
  readonly #ran = (): void => {
    if (!this.#written || this.#database.isTransaction) return;
    this.#written = false;
    this.#log.committed();
  };

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }
}

/** `ran` is called after each run. */
function shaped(statement: StatementSyncInstance, ran: () => void): Statement {
  const names = statement.columns().map((column) => column.name);
  // Rows come as arrays: the library makes them twice as fast as objects, and its objects lack a prototype.
  if (names.length > 0) statement.setReturnArrays(true);
  const toRow = (values: readonly unknown[]) => {
    const row: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i++) row[names[i] as string] = values[i];
    return row;
  };
  return {
    reader: names.length > 0,
    all(parameters) {
      const rows = statement.all(...parameters.map(bindable)).map(toRow);
      ran();
      return rows;
    },
    run(parameters) {
      const changed = statement.run(...parameters.map(bindable));
      ran();
      return changed;
    },
    *iterate(parameters) {
      for (const values of statement.iterate(...parameters.map(bindable))) yield toRow(values);
      ran();
    },
  };
}

function runForEach<R>(statement: Statement, parameters: readonly unknown[], rows: readonly R[]): R[] {
  const values = [...parameters];
  const places = parameters.flatMap((value, place) =>
    value instanceof RowValue ? [{ place, column: value.column as keyof R }] : [],
  );
  return rows.filter((row) => {
    for (const { place, column } of places) values[place] = row[column] ?? null;
    return Number(statement.run(values).changes) > 0;
  });
}

/** Rejects values that the library would silently bind as NULL. */
function bindable(value: unknown): unknown {
  if (typeof value === 'string') return storableText(value);
  if (value === null || typeof value === 'bigint' || value instanceof Uint8Array) return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new TypeError(`a value of type ${typeof value} cannot be stored`);
}
