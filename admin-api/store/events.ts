import { sql } from 'kysely';
import type { LedgerEvent } from './records.ts';
import { type EventRow, JoinedScope, type Scope } from './sql/scope.ts';
import { type Database, RowValue, type SqlDialect } from './sql/sql-dialect.ts';
import type { Events } from './store.ts';

const COLUMNS = { position: 'integer', at: 'integer', type: 'text', data: 'text' } as const;

/** Numbers are assigned before commits, so the next transaction that appends waits until this one ends. */
export async function appendEvents(
  db: Database,
  dialect: SqlDialect,
  events: readonly EventRow[],
): Promise<void> {
  if (events.length === 0) return;
  await dialect.lock(db, 'events');
  if (dialect.runForEach) {
    // The data of a large batch as a parameter: within a list it would be written and read as JSON once more.
    const [at, type, data] = [new RowValue('at'), new RowValue('type'), new RowValue('data')];
    dialect.runForEach(
      db,
      sql`insert into events (at, type, data_json) values (${at}, ${type}, ${data})`,
      events,
    );
    return;
  }
  const rows = events.map((event, position) => ({ ...event, position }));
  await sql`
    insert into events (at, type, data_json)
    select at, type, data from ${dialect.rowsOf(COLUMNS, rows)} order by position`.execute(db);
}

export class SqlEvents implements Events {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  async append(events: readonly { at: number; type: string; data: unknown }[]): Promise<void> {
    if (events.length === 0) return;
    const rows = events.map(({ at, type, data }) => ({ at, type, data: JSON.stringify(data ?? null) }));
    // The last step of a transaction: see `LOCKS`.
    if (this.#scope instanceof JoinedScope) this.#scope.events.push(...rows);
    else await this.#scope.atomic((db) => appendEvents(db, this.#scope.dialect, rows));
  }

  after(seq: number, limit: number): Promise<LedgerEvent[]> {
    return this.#scope.once(async (db) => {
      const rows = await db
        .selectFrom('events')
        .selectAll()
        .where('seq', '>', seq)
        .orderBy('seq')
        .limit(limit)
        .execute();
      return rows.map((row) => ({
        seq: row.seq,
        at: row.at,
        type: row.type,
        data: JSON.parse(row.data_json),
      }));
    });
  }

  firstSince(at: number): Promise<number | null> {
    return this.#scope.once(async (db) => {
      const row = await db
        .selectFrom('events')
        .select('seq')
        .where('at', '>=', at)
        .orderBy('seq')
        .limit(1)
        .executeTakeFirst();
      return row?.seq ?? null;
    });
  }

  bounds(): Promise<{ first: number; last: number }> {
    return this.#scope.once(async (db) => {
      // Two subqueries: SQLite finds one end of an index at once, but reads the whole index for both ends in
      // one SELECT.
      const { rows } = await sql<{ first: number; last: number }>`
        select coalesce((select min(seq) from events), 0) as first,
          coalesce((select max(seq) from events), 0) as last`.execute(db);
      return rows[0] as { first: number; last: number };
    });
  }

  prune(before: number, keep: number): Promise<number> {
    return this.#scope.atomic(async (db) => {
      // Finds the first event that stays by age from the old end, and the last one that goes by number.
      const { rows } = await sql<{ young: number | null; excess: number | null }>`
        select (select seq from events where at >= ${before} order by seq limit 1) as young,
          (select seq from events order by seq desc limit 1 offset ${keep}) as excess`.execute(db);
      const { young, excess } = rows[0] ?? { young: null, excess: null };
      const drop = Math.max(young === null ? Number.MAX_SAFE_INTEGER : young - 1, excess ?? 0);
      const { numDeletedRows } = await db
        .deleteFrom('events')
        .where('seq', '<=', drop)
        .executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    });
  }
}
