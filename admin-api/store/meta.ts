import { sql } from 'kysely';
import type { Scope } from './sql/scope.ts';
import type { Database } from './sql/sql-dialect.ts';
import type { Meta } from './store.ts';

export class SqlMeta implements Meta {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  clock(): Promise<number | null> {
    if (this.#scope.dialect.kind === 'sqlite') return Promise.resolve(null);
    return this.#scope.once(async (db) => {
      const { rows } = await sql<{ at: number }>`
        select cast(floor(extract(epoch from clock_timestamp()) * 1000) as bigint) as at`.execute(db);
      return rows[0]?.at ?? null;
    });
  }

  get(key: string): Promise<string | null> {
    return this.#scope.once((db) => read(db, key));
  }

  setOnce(key: string, value: string): Promise<string> {
    return this.#scope.atomic(async (db) => {
      await db
        .insertInto('meta')
        .values({ key, value })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      return (await read(db, key)) ?? value;
    });
  }

  set(key: string, value: string): Promise<void> {
    return this.#scope.once(async (db) => {
      await db
        .insertInto('meta')
        .values({ key, value })
        .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
        .execute();
    });
  }

  setMany(rows: readonly { key: string; value: string }[]): Promise<void> {
    return this.#scope.once(async (db) => {
      if (rows.length === 0) return;
      await db
        .insertInto('meta')
        .values(rows)
        .onConflict((conflict) =>
          conflict.column('key').doUpdateSet((row) => ({ value: row.ref('excluded.value') })),
        )
        .execute();
    });
  }

  replace(key: string, before: string | null, value: string): Promise<boolean> {
    return this.#scope.once(async (db) => {
      if (before === null) {
        const { numInsertedOrUpdatedRows } = await db
          .insertInto('meta')
          .values({ key, value })
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirstOrThrow();
        return numInsertedOrUpdatedRows !== 0n;
      }
      const { numUpdatedRows } = await db
        .updateTable('meta')
        .set({ value })
        .where('key', '=', key)
        .where('value', '=', before)
        .executeTakeFirstOrThrow();
      return numUpdatedRows !== 0n;
    });
  }

  list(prefix: string): Promise<{ key: string; value: string }[]> {
    return this.#scope.once((db) =>
      db
        .selectFrom('meta')
        .select(['key', 'value'])
        .where(sql<boolean>`substr(key, 1, ${prefix.length}) = ${prefix}`)
        .execute(),
    );
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#scope.once(async (db) => {
      if (keys.length > 0) await db.deleteFrom('meta').where('key', 'in', keys).execute();
    });
  }

  /** The value is the end of the lease, in 15 digits that compare as text, and the owner. */
  hold(key: string, owner: string, ttlMs: number, now: number): Promise<boolean> {
    const digits = (ms: number) => String(ms).padStart(15, '0');
    const value = `${digits(now + ttlMs)} ${owner}`;
    return this.#scope.once(async (db) => {
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('meta')
        .values({ key, value })
        .onConflict((conflict) =>
          conflict
            .column('key')
            .doUpdateSet({ value })
            .where(
              sql<boolean>`(substr(meta.value, 17) = ${owner}
                or substr(meta.value, 1, 15) <= ${digits(now)})`,
            ),
        )
        .executeTakeFirstOrThrow();
      return numInsertedOrUpdatedRows !== 0n;
    });
  }
}

async function read(db: Database, key: string): Promise<string | null> {
  const row = await db.selectFrom('meta').select('value').where('key', '=', key).executeTakeFirst();
  return row?.value ?? null;
}
