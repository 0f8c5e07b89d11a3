/** One UPDATE for many rows, each with its own values. */
import { type RawBuilder, sql } from 'kysely';
import { type Columns, type Database, type RowOf, RowValue, type SqlDialect } from './sql-dialect.ts';

/** Refers to a column of the passed rows within the statement. */
type ColumnOf<C extends Columns> = (name: keyof C & string) => RawBuilder<unknown>;

interface BulkUpdate<C extends Columns, R extends RowOf<C>> {
  table: 'executions' | 'devices';
  columns: C;
  rows: readonly R[];
  /** Key columns of the table, each with the column of `rows` that has its value. */
  key: Readonly<Record<string, keyof C & string>>;
  /** In the statement `e` is the stored row; `r` gives the new values. */
  set: (r: ColumnOf<C>) => RawBuilder<unknown>;
  /** Only rows for which this holds are changed; checked again after waiting for another transaction. */
  where: (r: ColumnOf<C>) => RawBuilder<unknown>;
}

/**
 * Returns those of `rows` that changed something. Call it inside a transaction. SQLite has one writer and
 * runs a prepared statement for each row, which costs a quarter of one UPDATE ... FROM, in the order of their
 * key: neighbours are on the same pages. PostgreSQL takes all rows in one statement. It locks them in the
 * order of their key before it changes any, so that two such statements wait for each other instead of
 * deadlocking.
 */
export async function bulkUpdate<C extends Columns, R extends RowOf<C>>(
  db: Database,
  dialect: SqlDialect,
  { table, columns, rows, key, set, where }: BulkUpdate<C, R>,
): Promise<R[]> {
  if (rows.length === 0) return [];
  const keys = Object.entries(key);
  const matches = (r: ColumnOf<C>) =>
    sql.join(
      keys.map(([column, name]) => sql`e.${sql.ref(column)} = ${r(name)}`),
      sql` and `,
    );
  if (dialect.runForEach) {
    const value: ColumnOf<C> = (name) => sql`${new RowValue(name)}`;
    const query = sql`
      update ${sql.table(table)} as e set ${set(value)} where ${matches(value)} and ${where(value)}`;
    return dialect.runForEach(db, query, inOrderOf(Object.values(key), rows));
  }
  const column: ColumnOf<C> = (name) => sql`r.${sql.ref(name)}`;
  const order = sql.join(keys.map(([name]) => sql`e.${sql.ref(name)}`));
  const names = sql.join(keys.map(([, name]) => column(name)));
  const { rows: changed } = await sql<R>`
    with r as materialized (
      select r.* from ${dialect.rowsOf(columns, rows)} join ${sql.table(table)} as e on ${matches(column)}
      where ${where(column)} order by ${order} for update of e)
    update ${sql.table(table)} as e set ${set(column)} from r
    where ${matches(column)} returning ${names}`.execute(db);
  const keyOf = (row: R) => JSON.stringify(keys.map(([, name]) => row[name]));
  const known = new Set(changed.map(keyOf));
  return rows.filter((row) => known.delete(keyOf(row)));
}

function inOrderOf<R>(names: readonly string[], rows: readonly R[]): R[] {
  const column = names as readonly (keyof R)[];
  return [...rows].sort((a, b) => {
    for (const name of column) {
      const one = a[name];
      const other = b[name];
      if (one === other) continue;
      return one < other ? -1 : 1;
    }
    return 0;
  });
}
