import type { Authorities, Authority, AuthorityState } from '../pki-records.ts';
import type { AuthorityTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';

export class SqlAuthorities implements Authorities {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  all(): Promise<Authority[]> {
    return this.#scope.once(async (db) => {
      const rows = await db.selectFrom('authorities').selectAll().orderBy('number').execute();
      return rows.map(toAuthority);
    });
  }

  create(authority: Authority): Promise<boolean> {
    const { number, state, certificate, sealedKey, createdAt, expiresAt } = authority;
    return this.#scope.once(async (db) => {
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('authorities')
        .values({
          number,
          state,
          certificate,
          sealed_key: sealedKey,
          created_at: createdAt,
          expires_at: expiresAt,
        })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow();
      return numInsertedOrUpdatedRows !== 0n;
    });
  }

  setState(number: number, state: AuthorityState): Promise<void> {
    return this.#set(number, { state });
  }

  setSealedKey(number: number, sealedKey: string): Promise<void> {
    return this.#set(number, { sealed_key: sealedKey });
  }

  delete(number: number): Promise<void> {
    return this.#scope.once(async (db) => {
      await db.deleteFrom('authorities').where('number', '=', number).execute();
    });
  }

  lock(): Promise<void> {
    return this.#scope.atomic((db) => this.#scope.dialect.lock(db, 'authorities'));
  }

  #set(number: number, change: { state: AuthorityState } | { sealed_key: string }): Promise<void> {
    return this.#scope.once(async (db) => {
      await db.updateTable('authorities').set(change).where('number', '=', number).execute();
    });
  }
}

function toAuthority(row: AuthorityTable): Authority {
  return {
    number: row.number,
    state: row.state as AuthorityState,
    certificate: row.certificate,
    sealedKey: row.sealed_key,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  };
}
