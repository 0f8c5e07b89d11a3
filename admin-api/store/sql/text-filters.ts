/** Filters by text and by subtree that mean the same in both databases. */
import { type Expression, type SqlBool, sql } from 'kysely';

/** The content of a row's `search` column. Folded to lower case here, because SQLite folds ASCII only. */
export function searchText(id: string, name: string): string {
  return `${id} ${name}`.toLowerCase();
}

/** Whether the column contains `text`, taken literally. */
export function searchPattern(column: string, text: string): Expression<SqlBool> {
  const pattern = `%${text.toLowerCase().replace(/[\\%_]/g, '\\$&')}%`;
  return sql<SqlBool>`${sql.ref(column)} like ${pattern} escape '\\'`;
}

/** Whether a path begins with `path`, as a range that an index can serve: `0` is the character after `/`. */
export function inSubtree(column: string, path: string): Expression<SqlBool> {
  const end = `${path.slice(0, -1)}0`;
  return sql<SqlBool>`(${sql.ref(column)} >= ${path} and ${sql.ref(column)} < ${end})`;
}
