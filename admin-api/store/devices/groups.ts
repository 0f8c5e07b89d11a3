import { sql } from 'kysely';
import { LIMITS } from '../../../protocol/index.ts';
import { Problem } from '../../problems.ts';
import { type Group, type Page, type PageRequest, ROOT_GROUP } from '../records.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { GroupTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import type { Database } from '../sql/sql-dialect.ts';
import { inSubtree, searchPattern, searchText } from '../sql/text-filters.ts';
import type { Groups } from '../store.ts';
import { staleKeys } from './group-keys.ts';

/** A membership lists at most this many groups. */
const DEPTH_MAX = LIMITS.groups;

export class SqlGroups implements Groups {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  get(id: string): Promise<Group | null> {
    return this.#scope.once(async (db) => {
      const row = await find(db, id);
      return row === undefined ? null : toGroup(row);
    });
  }

  getForChange(id: string): Promise<Group | null> {
    return this.#scope.atomic(async (db) => {
      await this.#scope.dialect.lock(db, 'groups');
      const row = await find(db, id);
      return row === undefined ? null : toGroup(row);
    });
  }

  list({
    parent,
    text,
    limit,
    cursor,
  }: PageRequest & { parent?: string; text?: string }): Promise<Page<Group & { devices: number }>> {
    const after = readCursor(cursor, ['text']);
    return this.#scope.once(async (db) => {
      let query = db
        .selectFrom('groups as g')
        .selectAll('g')
        .select(sql<number>`(select count(*) from devices d where d.group_id = g.id)`.as('devices'));
      if (parent !== undefined) query = query.where('g.parent_id', '=', parent);
      if (text !== undefined) query = query.where(searchPattern('g.search', text));
      if (after !== null) query = query.where('g.id', '>', after[0]);
      const rows = await query.orderBy('g.id').limit(rowsOfPage(limit)).execute();
      const items = rows.map((row) => ({ ...toGroup(row), devices: row.devices }));
      return toPage(items, limit, (last) => [last.id]);
    });
  }

  scan(after: string, limit: number): Promise<Pick<Group, 'id' | 'path'>[]> {
    return this.#scope.once((db) =>
      db
        .selectFrom('groups')
        .select(['id', 'path'])
        .where('id', '>', after)
        .orderBy('id')
        .limit(limit)
        .execute(),
    );
  }

  create({
    id,
    parentId,
    name,
    createdAt,
  }: {
    id: string;
    parentId: string;
    name: string;
    createdAt: number;
  }): Promise<Group> {
    return this.#scope.atomic(async (db) => {
      await this.#scope.dialect.lock(db, 'groups');
      const parent = await find(db, parentId);
      if (parent === undefined) throw unknownParent(parentId);
      if (depthOf(parent.path) >= DEPTH_MAX) throw tooDeep();
      if ((await find(db, id)) !== undefined) throw new Problem('conflict', `there is a group ${id} already`);
      await requireFreeName(db, parentId, name);
      const path = `${parent.path}${id}/`;
      const row = {
        id,
        parent_id: parentId,
        name,
        path,
        search: searchText(id, name),
        created_at: createdAt,
      };
      await db.insertInto('groups').values(row).execute();
      return toGroup(row);
    });
  }

  rename(id: string, name: string): Promise<void> {
    return this.#scope.atomic(async (db) => {
      await this.#scope.dialect.lock(db, 'groups');
      const group = await find(db, id);
      if (group === undefined) throw unknown(id);
      if (group.parent_id !== null) await requireFreeName(db, group.parent_id, name, id);
      await setName(db, id, name);
    });
  }

  move(id: string, parentId: string, newName?: string): Promise<void> {
    return this.#scope.atomic(async (db) => {
      await this.#scope.dialect.lock(db, 'groups');
      const group = await find(db, id);
      if (group === undefined) throw unknown(id);
      if (id === ROOT_GROUP) throw new Problem('conflict', 'the root group cannot be moved');
      const parent = await find(db, parentId);
      if (parent === undefined) throw unknownParent(parentId);
      if (parent.path.startsWith(group.path)) {
        throw new Problem('conflict', 'a group cannot be moved into itself or a group below it');
      }
      await this.#scope.dialect.lock(db, 'groupKeys');
      const name = newName ?? group.name;
      await requireFreeName(db, parentId, name, id);
      if (name !== group.name) await setName(db, id, name);
      if (group.parent_id === parentId) return;
      const { depth } = await db
        .selectFrom('groups')
        .select(sql<number>`max(length(path) - length(replace(path, '/', '')))`.as('depth'))
        .where(inSubtree('path', group.path))
        .executeTakeFirstOrThrow();
      if (depth - depthOf(group.path) + 1 + depthOf(parent.path) > DEPTH_MAX) throw tooDeep();
      const path = `${parent.path}${id}/`;
      // Every device below leaves the groups that are no longer above it.
      await staleKeys(this.#scope.dialect, db, group.path, path);
      await sql`
        update groups set path = ${path} || substr(path, ${sql.lit(group.path.length + 1)}),
          parent_id = case when id = ${id} then ${parentId} else parent_id end
        where ${inSubtree('path', group.path)}`.execute(db);
      await db
        .updateTable('devices')
        .set({ membership_revision: sql`membership_revision + 1` })
        .where('group_id', 'in', (query) =>
          query.selectFrom('groups').select('id').where(inSubtree('path', path)),
        )
        .execute();
    });
  }

  delete(id: string): Promise<'deleted' | 'not-empty' | 'unknown'> {
    return this.#scope.atomic(async (db) => {
      await this.#scope.dialect.lock(db, 'groups');
      const group = await find(db, id);
      if (group === undefined) return 'unknown';
      if (id === ROOT_GROUP) throw new Problem('conflict', 'the root group cannot be deleted');
      const { rows } = await sql<{ used: number }>`
        select 1 as used where exists (select 1 from groups where parent_id = ${id})
          or exists (select 1 from devices where group_id = ${id})
          or exists (select 1 from gateways where group_id = ${id})
          or exists (select 1 from enrolment_tokens where group_id = ${id} and revoked_at is null
            and uses_left > 0 and expires_at > ${Date.now()})`.execute(db);
      if (rows.length > 0) return 'not-empty';
      await staleKeys(this.#scope.dialect, db, group.path, group.path.slice(0, -(id.length + 1)));
      await db.deleteFrom('groups').where('id', '=', id).execute();
      return 'deleted';
    });
  }
}

/** Throws `Problem('unknown-reference')` if the group does not exist. Callers put something into it. */
export async function requireGroup(db: Database, id: string): Promise<void> {
  if ((await find(db, id)) === undefined) throw new Problem('unknown-reference', `there is no group ${id}`);
}

/** Checks the groups directly in `parentId`, `except` itself. */
async function requireFreeName(db: Database, parentId: string, name: string, except = ''): Promise<void> {
  const twin = await db
    .selectFrom('groups')
    .select('id')
    .where('parent_id', '=', parentId)
    .where('name', '=', name)
    .where('id', '<>', except)
    .executeTakeFirst();
  if (twin === undefined) return;
  const text = `name: group ${parentId} has a group called ${JSON.stringify(name)} already (${twin.id})`;
  throw new Problem('conflict', text);
}

async function setName(db: Database, id: string, name: string): Promise<void> {
  await db
    .updateTable('groups')
    .set({ name, search: searchText(id, name) })
    .where('id', '=', id)
    .execute();
}

async function find(db: Database, id: string): Promise<GroupTable | undefined> {
  return db.selectFrom('groups').selectAll().where('id', '=', id).executeTakeFirst();
}

function toGroup(row: GroupTable): Group {
  return {
    id: row.id,
    parentId: row.parent_id,
    name: row.name,
    path: row.path,
    createdAt: row.created_at,
  };
}

function depthOf(path: string): number {
  return path.split('/').length - 1;
}

function unknown(id: string): Problem {
  return new Problem('not-found', `there is no group ${id}`);
}

function unknownParent(id: string): Problem {
  return new Problem('unknown-reference', `parentId: there is no group ${id}`);
}

function tooDeep(): Problem {
  return new Problem('conflict', `groups nest at most ${DEPTH_MAX} deep`);
}
