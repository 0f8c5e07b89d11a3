/** Keys of groups for secret commands. They go stale in the statement that lets a device leave. */
import { sql } from 'kysely';
import { groupsOnPath } from '../../group-path.ts';
import type { GroupKeyTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import type { GroupKeyName, GroupKeys, StoredGroupKey } from '../store.ts';

const NAME = { group_id: 'text', epoch: 'integer', number: 'integer' } as const;
/** Longer than a command may wait for its device and then run. */
const STALE_KEPT_MS = 40 * 86_400_000;

export class SqlGroupKeys implements GroupKeys {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  current(
    group: string,
    epoch: number,
    at: number,
    make: (name: GroupKeyName) => string,
  ): Promise<StoredGroupKey> {
    return this.#scope.atomic(async (db) => {
      // Otherwise a device that leaves now could get, and keep, a key that is made now.
      await this.#scope.dialect.lock(db, 'groupKeys');
      const newest = await newestOf(db, group, epoch);
      if (newest && newest.stale_at === null) return toKey(newest);
      const number = (newest?.number ?? 0) + 1;
      const made = { group, epoch, number };
      await db
        .insertInto('group_keys')
        .values({ group_id: group, epoch, number, sealed_key: make(made), created_at: at, stale_at: null })
        .execute();
      await db
        .deleteFrom('group_keys')
        .where('group_id', '=', group)
        .where('stale_at', '<', at - STALE_KEPT_MS)
        .execute();
      return toKey((await newestOf(db, group, epoch)) as GroupKeyTable);
    });
  }

  ofNames(names: readonly GroupKeyName[]): Promise<StoredGroupKey[]> {
    return this.#scope.once(async (db) => {
      const asked = names.map(({ group, epoch, number }) => ({ group_id: group, epoch, number }));
      const { rows } = await sql<GroupKeyTable>`
        select k.* from ${this.#scope.dialect.rowsOf(NAME, asked)}
        join group_keys k on k.group_id = r.group_id and k.epoch = r.epoch and k.number = r.number`.execute(
        db,
      );
      return rows.map(toKey);
    });
  }

  hold(): Promise<void> {
    return this.#scope.atomic((db) => this.#scope.dialect.lock(db, 'groupKeys'));
  }

  left(device: string): Promise<void> {
    return this.#scope.atomic((db) => deviceLeaves(this.#scope.dialect, db, device));
  }
}

/**
 * Marks the keys of these groups as stale: the next command to each gets a new one. Skips groups that are
 * also on the path `stays`, because the device does not leave them.
 */
export async function staleKeys(dialect: SqlDialect, db: Database, path: string, stays = ''): Promise<void> {
  await dialect.lock(db, 'groupKeys');
  const still = new Set(groupsOnPath(stays));
  const left = groupsOnPath(path).filter((group) => !still.has(group));
  if (left.length === 0) return;
  await db
    .updateTable('group_keys')
    .set({ stale_at: Date.now() })
    .where('group_id', 'in', left)
    .where('stale_at', 'is', null)
    .execute();
}

/** For a device that leaves all its groups, or those that are not above `to`. */
export async function deviceLeaves(
  dialect: SqlDialect,
  db: Database,
  device: string,
  to?: string,
): Promise<void> {
  await dialect.lock(db, 'groupKeys');
  const { rows } = await sql<{ id: string; path: string }>`
    select g.id, g.path from groups g
    where g.id = (select group_id from devices where id = ${device}) or g.id = ${to ?? null}`.execute(db);
  const stays = rows.find(({ id }) => id === to)?.path;
  const from = rows.find(({ id }) => id !== to)?.path;
  if (from !== undefined) await staleKeys(dialect, db, from, stays);
}

async function newestOf(db: Database, group: string, epoch: number): Promise<GroupKeyTable | undefined> {
  return db
    .selectFrom('group_keys')
    .selectAll()
    .where('group_id', '=', group)
    .where('epoch', '=', epoch)
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
}

function toKey({ group_id: group, epoch, number, sealed_key: sealedKey }: GroupKeyTable): StoredGroupKey {
  return { group, epoch, number, sealedKey };
}
