import { type Expression, type SqlBool, sql } from 'kysely';
import type { TimeSpan } from '../records.ts';

/** Whether the column's time is in the span. `null` is in no span that has a bound. */
export function inSpan(column: string, { since, until }: TimeSpan): Expression<SqlBool> {
  const from = since === undefined ? sql`` : sql` and ${sql.ref(column)} >= ${since}`;
  const to = until === undefined ? sql`` : sql` and ${sql.ref(column)} < ${until}`;
  return sql<SqlBool>`(1 = 1${from}${to})`;
}
