/** PostgreSQL 13 or newer, through a pool of `pg`. */
import { Kysely, PostgresDialect, type PostgresPool, sql } from 'kysely';
import pg from 'pg';
import type { Logger } from 'pino';
import { POSTGRES_MIGRATIONS } from './migrations/postgres.ts';
import type { Schema } from './schema.ts';
import { LOCKS, type SqlDialect, storableRows } from './sql-dialect.ts';
import { storableText } from './storable-text.ts';

export interface PostgresOptions {
  url: string;
  /** Connections the pool may open. */
  poolSize: number;
  /** After how long the server gives up a statement, milliseconds. */
  statementTimeoutMs: number;
  log: Logger;
}

const CONNECT_TIMEOUT_MS = 5_000;
const INT8 = 20;
const COLUMN_TYPES = { text: 'text', integer: 'bigint' } as const;

export function postgresDialect(options: PostgresOptions): SqlDialect {
  return {
    kind: 'postgres',
    oneConnection: false,
    migrations: POSTGRES_MIGRATIONS,
    async open() {
      return new Kysely<Schema>({ dialect: new PostgresDialect({ pool: openPool(options) }) });
    },
    rowsOf(columns, rows) {
      const names = Object.keys(columns);
      const objects = storableRows(columns, rows).map((row) =>
        Object.fromEntries(row.map((value, i) => [names[i], value])),
      );
      const list = names.map(
        (name) => sql`${sql.ref(name)} ${sql.raw(COLUMN_TYPES[columns[name] as 'text' | 'integer'])}`,
      );
      return sql`json_to_recordset(${JSON.stringify(objects)}::json) as r(${sql.join(list)})`;
    },
    forUpdate: (table) => sql`for update of ${sql.ref(table)}`,
    byIndex: () => sql``,
    forUpdateOfFree: (table) => sql`for update of ${sql.ref(table)} skip locked`,
    async lock(db, name) {
      await sql`select pg_advisory_xact_lock(${sql.lit(LOCKS[name])})`.execute(db);
    },
    isUnavailable,
    isConflict: (error) => ['40001', '40P01'].includes(codeOf(error)),
    isDuplicate: (error) => codeOf(error) === '23505',
  };
}

function openPool({ url, poolSize, statementTimeoutMs, log }: PostgresOptions): PostgresPool {
  const pool = new pg.Pool({
    connectionString: url,
    max: poolSize,
    application_name: 'pushpoint',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: statementTimeoutMs,
    // A server that vanished without a word (no FIN, no RST) must not hold a request for ever.
    query_timeout: statementTimeoutMs + CONNECT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: statementTimeoutMs,
    keepAlive: true,
    types: {
      // Counts and times stay far below 2^53, so a bigint is read as a number.
      getTypeParser: ((oid: number, format?: 'text') =>
        oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  });
  // An idle connection broke; the pool has dropped it already, and the next statement opens another.
  pool.on('error', (err) => log.warn({ err }, 'idle database connection lost'));
  return {
    async connect() {
      const client = await pool.connect();
      // A connection that breaks between two statements of a transaction: the next statement reports it.
      const onError = (err: Error) => log.warn({ err }, 'database connection lost');
      client.on('error', onError);
      // A connection that broke, or still waits for a statement we gave up, must not go back into the pool.
      let broken: Error | undefined;
      return {
        async query(text: string, values: readonly unknown[]) {
          if (broken !== undefined) throw broken;
          try {
            return await client.query(text, values.map(bindable));
          } catch (error) {
            if (isUnavailable(error) && error instanceof Error) broken = error;
            throw error;
          }
        },
        release() {
          client.off('error', onError);
          client.release(broken);
        },
      };
    },
    end: () => pool.end(),
  } as unknown as PostgresPool;
}

function bindable(value: unknown): unknown {
  if (typeof value === 'string') return storableText(value);
  if (value === null || typeof value === 'number' || typeof value === 'bigint') return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new TypeError(`a value of type ${typeof value} cannot be stored`);
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

/**
 * SQLSTATE classes (PostgreSQL, appendix A): 08 connection, 28 authorisation, 3D no such database, 53 resources, 57
 * operator intervention (shutdown, statement timeout), 58 system error; 25006 a standby, 25P03 idle in transaction. Errors without
 * a SQLSTATE come from the socket or from pg itself.
 */
function isUnavailable(error: unknown): boolean {
  const code = codeOf(error);
  if (/^(08|28|3D|53|57|58)...$/.test(code) || code === '25006' || code === '25P03') return true;
  if (/^E[A-Z_]+$/.test(code)) return true;
  return (
    error instanceof Error &&
    /^(connection terminated|client has encountered a connection error|client was closed|query read timeout|timeout exceeded|timeout expired|cannot use a pool)/i.test(
      error.message,
    )
  );
}
