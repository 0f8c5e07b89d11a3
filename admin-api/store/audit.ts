import { readCursor, rowsOfPage, toPage } from './page-cursor.ts';
import type { AuditEntry, Page, PageRequest } from './records.ts';
import type { Scope } from './scope.ts';
import type { Audit } from './store.ts';

export class SqlAudit implements Audit {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  append({ at, actor, action, subject, detail }: Parameters<Audit['append']>[0]): Promise<void> {
    return this.#scope.once(async (db) => {
      const detail_json = JSON.stringify(detail ?? null);
      await db.insertInto('audit').values({ at, actor, action, subject, detail_json }).execute();
    });
  }

  /** Newest first. */
  list({ limit, cursor }: PageRequest): Promise<Page<AuditEntry>> {
    const before = readCursor(cursor, ['integer']);
    return this.#scope.once(async (db) => {
      let query = db.selectFrom('audit').selectAll();
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
