import { sql } from 'kysely';
import { requireGroup } from '../devices/groups.ts';
import type { EnrolmentToken, Page, PageRequest } from '../records.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { EnrolmentTokenTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import type { EnrolmentTokens } from '../store.ts';

export class SqlEnrolmentTokens implements EnrolmentTokens {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  create(token: EnrolmentToken): Promise<void> {
    return this.#scope.atomic(async (db) => {
      await requireGroup(db, token.groupId);
      await db
        .insertInto('enrolment_tokens')
        .values({
          id: token.id,
          public_key: token.publicKey,
          group_id: token.groupId,
          note: token.note,
          uses_left: token.usesLeft,
          uses_max: token.usesMax,
          expires_at: token.expiresAt,
          created_at: token.createdAt,
          created_by: token.createdBy,
          revoked_at: token.revokedAt,
        })
        .execute();
    });
  }

  list({ limit, cursor }: PageRequest): Promise<Page<EnrolmentToken>> {
    const after = readCursor(cursor, ['text']);
    return this.#scope.once(async (db) => {
      let query = db.selectFrom('enrolment_tokens').selectAll();
      if (after !== null) query = query.where('id', '>', after[0]);
      const rows = await query.orderBy('id').limit(rowsOfPage(limit)).execute();
      return toPage(rows.map(toToken), limit, (last) => [last.id]);
    });
  }

  get(id: string): Promise<EnrolmentToken | null> {
    return this.#scope.once(async (db) => {
      const row = await db.selectFrom('enrolment_tokens').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? null : toToken(row);
    });
  }

  use(id: string, now: number): ReturnType<EnrolmentTokens['use']> {
    return this.#scope.atomic(async (db) => {
      const { rows } = await sql<EnrolmentTokenTable>`
        select * from enrolment_tokens as t where id = ${id}
        ${this.#scope.dialect.forUpdate('t')}`.execute(db);
      const row = rows[0];
      if (row === undefined) return { refused: 'unknown' as const };
      if (row.revoked_at !== null) return { refused: 'revoked' as const };
      if (row.expires_at <= now) return { refused: 'expired' as const };
      if (row.uses_left <= 0) return { refused: 'used-up' as const };
      const usesLeft = row.uses_left - 1;
      await db.updateTable('enrolment_tokens').set({ uses_left: usesLeft }).where('id', '=', id).execute();
      return { token: toToken({ ...row, uses_left: usesLeft }) };
    });
  }

  revoke(id: string, at: number): Promise<boolean> {
    return this.#scope.once(async (db) => {
      const { numUpdatedRows } = await db
        .updateTable('enrolment_tokens')
        .set({ revoked_at: at })
        .where('id', '=', id)
        .where('revoked_at', 'is', null)
        .executeTakeFirstOrThrow();
      return numUpdatedRows > 0n;
    });
  }
}

function toToken(row: EnrolmentTokenTable): EnrolmentToken {
  return {
    id: row.id,
    publicKey: row.public_key === null ? null : new Uint8Array(row.public_key),
    groupId: row.group_id,
    note: row.note,
    usesLeft: row.uses_left,
    usesMax: row.uses_max,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    createdBy: row.created_by,
    revokedAt: row.revoked_at,
  };
}
