import { sql } from 'kysely';
import { serverSubject } from '../../../bus/subjects.ts';
import type { JoinToken, JoinTokens } from '../pki-records.ts';
import type { Page, PageRequest } from '../records.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { JoinTokenTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';

export class SqlJoinTokens implements JoinTokens {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  create(token: JoinToken): Promise<void> {
    return this.#scope.once(async (db) => {
      await db
        .insertInto('join_tokens')
        .values({
          id: token.id,
          gateway: token.gateway,
          public_key: token.publicKey,
          expires_at: token.expiresAt,
          created_at: token.createdAt,
          created_by: token.createdBy,
          revoked_at: token.revokedAt,
          used_at: token.usedAt,
          used_by: null,
        })
        .execute();
    });
  }

  get(id: string): Promise<JoinToken | null> {
    return this.#scope.once(async (db) => {
      const row = await db.selectFrom('join_tokens').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? null : toToken(row);
    });
  }

  list({ limit, cursor }: PageRequest, of: 'gateways' | 'servers'): Promise<Page<JoinToken>> {
    const after = readCursor(cursor, ['text']);
    return this.#scope.once(async (db) => {
      const like = of === 'servers' ? 'like' : 'not like';
      let query = db
        .selectFrom('join_tokens')
        .selectAll()
        .where('gateway', like, `${serverSubject('')}%`);
      if (after !== null) query = query.where('id', '>', after[0]);
      const rows = await query.orderBy('id').limit(rowsOfPage(limit)).execute();
      return toPage(rows.map(toToken), limit, (last) => [last.id]);
    });
  }

  use(id: string, requestHash: Uint8Array, now: number): ReturnType<JoinTokens['use']> {
    return this.#scope.atomic(async (db) => {
      const { rows } = await sql<JoinTokenTable>`
        select * from join_tokens as t where id = ${id}
        ${this.#scope.dialect.forUpdate('t')}`.execute(db);
      const row = rows[0];
      if (row === undefined) return { refused: 'unknown' as const };
      if (row.revoked_at !== null) return { refused: 'revoked' as const };
      if (row.expires_at <= now) return { refused: 'expired' as const };
      if (row.used_by !== null) {
        return Buffer.from(row.used_by).equals(requestHash) ? toToken(row) : { refused: 'used-up' as const };
      }
      const change = { used_at: now, used_by: requestHash };
      await db.updateTable('join_tokens').set(change).where('id', '=', id).execute();
      return toToken({ ...row, ...change });
    });
  }

  revoke(id: string, at: number): Promise<boolean> {
    return this.#scope.once(async (db) => {
      const { numUpdatedRows } = await db
        .updateTable('join_tokens')
        .set({ revoked_at: at })
        .where('id', '=', id)
        .where('revoked_at', 'is', null)
        .executeTakeFirstOrThrow();
      return numUpdatedRows > 0n;
    });
  }

  revokeOpen(gateway: string, at: number): Promise<string[]> {
    return this.#scope.once(async (db) => {
      const rows = await db
        .updateTable('join_tokens')
        .set({ revoked_at: at })
        .where('gateway', '=', gateway)
        .where('revoked_at', 'is', null)
        .where('used_by', 'is', null)
        .where('expires_at', '>', at)
        .returning('id')
        .execute();
      return rows.map(({ id }) => id);
    });
  }
}

function toToken(row: JoinTokenTable): JoinToken {
  return {
    id: row.id,
    gateway: row.gateway,
    publicKey: new Uint8Array(row.public_key),
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    createdBy: row.created_by,
    revokedAt: row.revoked_at,
    usedAt: row.used_at,
  };
}
