import type { ApiToken, Page, PageRequest, Role } from '../records.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { ApiTokenTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import type { ApiTokens } from '../store.ts';

export class SqlApiTokens implements ApiTokens {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  create(token: ApiToken & { hash: Uint8Array }): Promise<void> {
    return this.#scope.once(async (db) => {
      await db
        .insertInto('api_tokens')
        .values({
          id: token.id,
          hash: token.hash,
          name: token.name,
          role: token.role,
          created_at: token.createdAt,
          created_by: token.createdBy,
          expires_at: token.expiresAt,
          revoked_at: token.revokedAt,
          last_used_at: token.lastUsedAt,
        })
        .execute();
    });
  }

  list({ limit, cursor }: PageRequest): Promise<Page<ApiToken>> {
    const after = readCursor(cursor, ['text']);
    return this.#scope.once(async (db) => {
      let query = db.selectFrom('api_tokens').selectAll();
      if (after !== null) query = query.where('id', '>', after[0]);
      const rows = await query.orderBy('id').limit(rowsOfPage(limit)).execute();
      return toPage(rows.map(toToken), limit, (last) => [last.id]);
    });
  }

  byHash(hash: Uint8Array): Promise<ApiToken | null> {
    return this.#scope.once(async (db) => {
      const row = await db.selectFrom('api_tokens').selectAll().where('hash', '=', hash).executeTakeFirst();
      return row === undefined ? null : toToken(row);
    });
  }

  revoke(id: string, at: number): Promise<boolean> {
    return this.#scope.once(async (db) => {
      const { numUpdatedRows } = await db
        .updateTable('api_tokens')
        .set({ revoked_at: at })
        .where('id', '=', id)
        .where('revoked_at', 'is', null)
        .executeTakeFirstOrThrow();
      return numUpdatedRows > 0n;
    });
  }

  any(role: Role, now: number): Promise<boolean> {
    return this.#scope.once(async (db) => {
      const row = await db
        .selectFrom('api_tokens')
        .select('id')
        .where('role', '=', role)
        .where('revoked_at', 'is', null)
        .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', now)]))
        .executeTakeFirst();
      return row !== undefined;
    });
  }

  lockFirst(): Promise<void> {
    return this.#scope.atomic((db) => this.#scope.dialect.lock(db, 'firstToken'));
  }

  touch(id: string, at: number): Promise<void> {
    return this.#scope.once(async (db) => {
      await db.updateTable('api_tokens').set({ last_used_at: at }).where('id', '=', id).execute();
    });
  }
}

function toToken(row: ApiTokenTable): ApiToken {
  return {
    id: row.id,
    name: row.name,
    role: row.role as Role,
    createdAt: row.created_at,
    createdBy: row.created_by,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    lastUsedAt: row.last_used_at,
  };
}
