/** Cursors of lists: an opaque key of the last item, so that pages are stable while rows come and go. */
import { Problem } from '../../problems.ts';
import type { Page } from '../records.ts';

type Part = 'text' | 'integer';
type PartValue<P extends Part> = P extends 'text' ? string : number;
type Key<Shape extends readonly Part[]> = { -readonly [I in keyof Shape]: PartValue<Shape[I]> };

const LIMIT_MAX = 5_000;

/** How many rows to read for a page: one more than it shows, which tells whether a next page exists. */
export function rowsOfPage(limit: number): number {
  return Math.max(1, Math.min(Math.trunc(limit) || 1, LIMIT_MAX)) + 1;
}

/** Makes a page of the rows read, which are at most `rowsOfPage`; `keyOf` gives the cursor's parts. */
export function toPage<T>(
  rows: T[],
  limit: number,
  keyOf: (last: T) => readonly (string | number)[],
): Page<T> {
  const size = rowsOfPage(limit) - 1;
  if (rows.length <= size) return { items: rows, next: null };
  const items = rows.slice(0, size);
  const last = items[size - 1] as T;
  return { items, next: Buffer.from(JSON.stringify(keyOf(last))).toString('base64url') };
}

/** Throws `Problem('bad-request')` unless `toPage` made the cursor for a list with keys of this shape. */
export function readCursor<const Shape extends readonly Part[]>(
  cursor: string | undefined,
  shape: Shape,
): Key<Shape> | null {
  if (cursor === undefined) return null;
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    parts = null;
  }
  const fits =
    Array.isArray(parts) &&
    parts.length === shape.length &&
    shape.every((part, i) =>
      part === 'text' ? typeof parts[i] === 'string' : Number.isSafeInteger(parts[i]),
    );
  if (!fits) throw new Problem('bad-request', 'cursor: not one that this list gave out');
  return parts as Key<Shape>;
}
