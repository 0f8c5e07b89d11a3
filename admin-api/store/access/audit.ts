import { sql } from 'kysely';
import type { AuditEntry, Page, PageRequest, TimeSpan } from '../records.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { Scope } from '../sql/scope.ts';
import { inSpan } from '../sql/time-filters.ts';
import type { Audit, NewAuditEntry } from '../store.ts';

const COLUMNS = {
  at: 'integer',
  actor: 'text',
  action: 'text',
  subject: 'text',
  detail_json: 'text',
  position: 'integer',
} as const;

export class SqlAudit implements Audit {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  append(...entries: readonly NewAuditEntry[]): Promise<void> {
    return this.#scope.once(async (db) => {
      if (entries.length === 0) return;
      const rows = entries.map(({ detail, ...entry }, position) => ({
        ...entry,
        detail_json: JSON.stringify(detail ?? null),
        position,
      }));
      await sql`
        insert into audit (at, actor, action, subject, detail_json)
        select at, actor, action, subject, detail_json
        from ${this.#scope.dialect.rowsOf(COLUMNS, rows)} order by position`.execute(db);
    });
  }

  list({ limit, cursor, ...span }: PageRequest & TimeSpan): Promise<Page<AuditEntry>> {
    const before = readCursor(cursor, ['integer']);
    return this.#scope.once(async (db) => {
      let query = db.selectFrom('audit').selectAll().where(inSpan('at', span));
      if (before !== null) query = query.where('seq', '<', before[0]);
      const rows = await query.orderBy('seq', 'desc').limit(rowsOfPage(limit)).execute();
      const entries = rows.map(({ detail_json, ...entry }) => ({
        ...entry,
        detail: JSON.parse(detail_json),
      }));
      return toPage(entries, limit, (last) => [last.seq]);
    });
  }
}
