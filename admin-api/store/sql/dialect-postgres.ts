/** PostgreSQL 13 or newer, itself or behind a pooler. */
import { Kysely, PostgresDialect, sql } from 'kysely';
import { POSTGRES_MIGRATIONS } from './migrations/postgres.ts';
import { codeOf, isConflict, isUnavailable } from './postgres-errors.ts';
import { openPool, type PostgresPoolOptions } from './postgres-pool.ts';
import type { Schema } from './schema.ts';
import { LOCKS, type SqlDialect, storableRows } from './sql-dialect.ts';

const COLUMN_TYPES = { text: 'text', integer: 'bigint' } as const;

export function postgresDialect(options: PostgresPoolOptions): SqlDialect {
  return {
    kind: 'postgres',
    oneConnection: false,
    migrations: POSTGRES_MIGRATIONS,
    async open() {
      return new Kysely<Schema>({ dialect: new PostgresDialect({ pool: await openPool(options) }) });
    },
    async openToMigrate() {
      const pool = await openPool({ ...options, poolSize: 1, answersAtAnyTime: true });
      return new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
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
    isConflict,
    isDuplicate: (error) => codeOf(error) === '23505',
  };
}
