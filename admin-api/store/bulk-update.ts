/** One UPDATE for many rows, each with values of its own. */
import { type RawBuilder, sql } from 'kysely';
import type { Columns, Database, RowOf, SqlDialect } from './sql-dialect.ts';

interface BulkUpdate<C extends Columns> {
  table: 'executions' | 'devices';
  columns: C;
  rows: readonly RowOf<C>[];
  /** Columns of the table and the columns of `rows` that name them. */
  key: Readonly<Record<string, string>>;
  /** The row as it is named `e`, the new values `r`. */
  set: RawBuilder<unknown>;
  /** Rows for which this does not hold are left alone; looked at again after waiting for another transaction. */
  where: RawBuilder<unknown>;
  /** Columns of the table, unqualified and unlike those of `rows`; nothing comes back without. */
  returning?: RawBuilder<unknown>;
}

/**
 * PostgreSQL locks the rows in the order of their key before it changes any, so that two such statements wait for each
 * other instead of deadlocking; SQLite has one writer.
 */
export async function bulkUpdate<T, C extends Columns>(
  db: Database,
  dialect: SqlDialect,
  { table, columns, rows, key, set, where, returning }: BulkUpdate<C>,
): Promise<T[]> {
  if (rows.length === 0) return [];
  const source = dialect.rowsOf(columns, rows);
  const answer = returning === undefined ? sql`` : sql`returning ${returning}`;
  const on = sql.join(
    Object.entries(key).map(([column, name]) => sql`e.${sql.ref(column)} = r.${sql.ref(name)}`),
    sql` and `,
  );
  if (dialect.kind === 'sqlite') {
    const { rows: changed } = await sql<T>`
      update ${sql.table(table)} as e set ${set} from ${source}
      where ${on} and ${where} ${answer}`.execute(db);
    return changed;
  }
  const order = sql.join(Object.keys(key).map((column) => sql`e.${sql.ref(column)}`));
  const { rows: changed } = await sql<T>`
    with r as materialized (
      select r.* from ${source} join ${sql.table(table)} as e on ${on}
      where ${where} order by ${order} for update of e)
    update ${sql.table(table)} as e set ${set} from r where ${on} ${answer}`.execute(db);
  return changed;
}
