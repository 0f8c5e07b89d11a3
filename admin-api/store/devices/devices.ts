import { sql } from 'kysely';
import { Problem } from '../../problems.ts';
import type { Copies, Device, Page, PageRequest } from '../records.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { DeviceTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import type { Database } from '../sql/sql-dialect.ts';
import { searchText } from '../sql/text-filters.ts';
import type {
  DeviceFilter,
  DeviceMembership,
  DevicePlace,
  Devices,
  SecretGenerations,
  SessionChange,
  StatusReport,
} from '../store.ts';
import * as places from './device-places.ts';
import * as reports from './device-reports.ts';
import { filtered, idRows, toDevice, withPath } from './device-rows.ts';
import { deviceLeaves } from './group-keys.ts';
import { requireGroup } from './groups.ts';
import { releaseKeys } from './refused-keys.ts';

type DeletionKind = NonNullable<Parameters<Devices['delete']>[2]>;

export class SqlDevices implements Devices {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  get(id: string): Promise<Device | null> {
    return this.#one('id', id);
  }

  getForChange(id: string): Promise<Device | null> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<DeviceTable>`
        select e.* from devices e where e.id = ${id} ${this.#scope.dialect.forUpdate('e')}`.execute(db);
      return rows[0] === undefined ? null : toDevice(rows[0]);
    });
  }

  byPublicKey(publicKey: Uint8Array): Promise<Device | null> {
    return this.#one('public_key', publicKey);
  }

  #one(column: 'id' | 'public_key', value: string | Uint8Array): Promise<Device | null> {
    return this.#scope.once(async (db) => {
      const row = await db.selectFrom('devices').selectAll().where(column, '=', value).executeTakeFirst();
      return row === undefined ? null : toDevice(row);
    });
  }

  generations(ids: readonly string[]): Promise<Map<string, SecretGenerations>> {
    return this.#scope.ahead(async (db) => {
      const rekeyed = db.selectFrom('devices').select('id').where('offered', '>', 1);
      // As a rule no device has another secret, and this costs nothing.
      if (ids.length === 0 || !(await rekeyed.limit(1).executeTakeFirst())) return new Map();
      const { rows } = await sql<Pick<DeviceTable, 'id' | 'generation' | 'offered'>>`
        select e.id, e.generation, e.offered from ${this.#idRows(ids)}
        join devices e on e.id = r.id where e.offered > 1`.execute(db);
      return new Map(rows.map(({ id, generation, offered }) => [id, { generation, offered }]));
    });
  }

  offerSecret(id: string, has: number): Promise<void> {
    return this.#scope.atomic(async (db) => {
      // It has used what it was given when it says so, signed.
      await this.#takeSecret(db, { id, generation: has });
      await db
        .updateTable('devices')
        .set({ offered: sql<number>`generation + 1` })
        .where('id', '=', id)
        .execute();
    });
  }

  takeSecrets(rows: readonly { id: string; generation: number }[]): Promise<void> {
    return this.#scope.atomic(async (db) => {
      for (const row of rows) await this.#takeSecret(db, row);
    });
  }

  async #takeSecret(db: Database, { id, generation }: { id: string; generation: number }): Promise<void> {
    await db
      .updateTable('devices')
      .set({ generation })
      .where('id', '=', id)
      .where('offered', '=', generation)
      .execute();
  }

  async getMany(ids: readonly string[]): Promise<Device[]> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<DeviceTable>`
        select e.* from ${this.#idRows(ids)} join devices e on e.id = r.id order by e.id`.execute(db);
      return rows.map(toDevice);
    });
  }

  list(filter: DeviceFilter, { limit, cursor }: PageRequest): Promise<Page<Device>> {
    const after = readCursor(cursor, ['text']);
    return this.#scope.once(async (db) => {
      let query = filtered(db, filter).selectAll('d');
      if (after !== null) query = query.where('d.id', '>', after[0]);
      const rows = await query.orderBy('d.id').limit(rowsOfPage(limit)).execute();
      return toPage(rows.map(toDevice), limit, (last) => [last.id]);
    });
  }

  count(filter: DeviceFilter): Promise<number> {
    return this.#scope.once(async (db) => {
      const { n } = await filtered(db, filter)
        .select(sql<number>`count(*)`.as('n'))
        .executeTakeFirstOrThrow();
      return n;
    });
  }

  create(device: Parameters<Devices['create']>[0]): Promise<void> {
    return this.#scope.atomic(async (db) => {
      await requireGroup(db, device.groupId);
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('devices')
        .values({
          id: device.id,
          group_id: device.groupId,
          name: device.name,
          search: searchText(device.id, device.name),
          platform: device.platform,
          software: device.software,
          public_key: device.publicKey,
          status_number: 0,
          membership_revision: 1,
          created_at: device.createdAt,
          session: 0,
          connected: 0,
          caps_json: '[]',
          named: 0,
          displaced: 0,
          generation: 1,
          offered: 1,
          near: '',
        })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow();
      if (numInsertedOrUpdatedRows === 0n) {
        throw new Problem('conflict', 'there is a device with this id or this key already');
      }
    });
  }

  rename(id: string, name: string): Promise<void> {
    return this.#scope.once((db) => change(db, id, { name, named: 1, search: searchText(id, name) }));
  }

  applyNames(rows: Parameters<Devices['applyNames']>[0]): ReturnType<Devices['applyNames']> {
    return this.#scope.atomic((db) => reports.applyNames(db, this.#scope.dialect, rows));
  }

  applyDisplaced(devices: readonly string[], at: number): Promise<Device[]> {
    return this.#scope.atomic((db) => reports.applyDisplaced(db, this.#scope.dialect, devices, at));
  }

  changeGroup(id: string, groupId: string): Promise<void> {
    return this.#scope.atomic(async (db) => {
      await requireGroup(db, groupId);
      await deviceLeaves(this.#scope.dialect, db, id, groupId);
      await change(db, id, { group_id: groupId, membership_revision: sql`membership_revision + 1` });
    });
  }

  setPublicKey(id: string, publicKey: Uint8Array): Promise<void> {
    const values = { public_key: publicKey, membership_revision: sql<number>`membership_revision + 1` };
    return this.#scope.once((db) => change(db, id, values));
  }

  setBlocked(id: string, blockedAt: number | null): Promise<void> {
    return this.#scope.atomic(async (db) => {
      if (blockedAt !== null) await deviceLeaves(this.#scope.dialect, db, id);
      await change(db, id, { blocked_at: blockedAt, membership_revision: sql`membership_revision + 1` });
    });
  }

  setCopies(id: string, copies: Copies, clonedAt: number | null): Promise<void> {
    const values = { copies_json: JSON.stringify(copies), cloned_at: clonedAt };
    return this.#scope.once((db) => change(db, id, values));
  }

  forgetCopies(id: string): Promise<void> {
    const values = { copies_json: null, cloned_at: null, displaced: 0, displaced_at: null };
    return this.#scope.once((db) => change(db, id, values));
  }

  cloned(): Promise<string[]> {
    return this.#scope.once(async (db) => {
      const query = db.selectFrom('devices').select('id').where(sql<boolean>`cloned_at is not null`);
      return (await query.orderBy('id').execute()).map(({ id }) => id);
    });
  }

  delete(id: string, at: number, { to, refuseKey }: DeletionKind = {}): Promise<boolean> {
    return this.#scope.atomic(async (db) => {
      await deviceLeaves(this.#scope.dialect, db, id);
      await releaseKeys(db, id, { split: refuseKey === true, at });
      await sql`insert into deleted_devices (id, revision, deleted_at, moved_to, moved_fingerprint)
        select id, membership_revision + 1, ${at}, ${to?.url ?? null}, ${to?.fingerprint ?? null}
        from devices where id = ${id}`.execute(db);
      const { numDeletedRows } = await db
        .deleteFrom('devices')
        .where('id', '=', id)
        .executeTakeFirstOrThrow();
      return numDeletedRows > 0n;
    });
  }

  async applySessions(
    changes: readonly SessionChange[],
  ): Promise<{ connected: string[]; disconnected: string[] }> {
    if (changes.length === 0) return { connected: [], disconnected: [] };
    return this.#scope.atomic((db) => reports.applySessions(db, this.#scope.dialect, changes));
  }

  applyStatus(rows: readonly StatusReport[]): Promise<string[]> {
    return this.#scope.atomic((db) => reports.applyStatus(db, this.#scope.dialect, rows));
  }

  applyMeasures(rows: Parameters<Devices['applyMeasures']>[0]): Promise<void> {
    return this.#scope.atomic((db) => reports.applyMeasures(db, this.#scope.dialect, rows));
  }

  incarnations(): Promise<string[]> {
    return this.#scope.once((db) => places.incarnations(db));
  }

  disconnectIncarnation(incarnation: string, at: number, limit: number): Promise<string[]> {
    return this.#scope.atomic((db) =>
      places.disconnectIncarnation(db, this.#scope.dialect, { incarnation, at, limit }),
    );
  }

  scan(after: string, limit: number): Promise<(Device & { groupPath: string })[]> {
    return this.#scope.once(async (db) => {
      const rows = await withPath(db).where('d.id', '>', after).orderBy('d.id').limit(limit).execute();
      return rows.map((row) => ({ ...toDevice(row), groupPath: row.path }));
    });
  }

  withPaths(ids: readonly string[]): Promise<(Device & { groupPath: string })[]> {
    return this.#scope.once(async (db) => {
      const rows = await withPath(db)
        .where('d.id', 'in', sql<string>`(select r.id from ${this.#idRows(ids)})`)
        .orderBy('d.id')
        .execute();
      return rows.map((row) => ({ ...toDevice(row), groupPath: row.path }));
    });
  }

  memberships(ids: readonly string[]): Promise<DeviceMembership[]> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<DeviceMembership>`
        select d.id as id, d.public_key as "publicKey", d.blocked_at as "blockedAt",
          d.membership_revision as "membershipRevision", g.path as "groupPath"
        from ${this.#idRows(ids)} join devices d on d.id = r.id join groups g on g.id = d.group_id`.execute(
        db,
      );
      return rows.map((row) => ({ ...row, publicKey: new Uint8Array(row.publicKey) }));
    });
  }

  places(ids: readonly string[]): Promise<DevicePlace[]> {
    return this.#scope.ahead((db) => places.places(db, this.#scope.dialect, ids));
  }

  placements(): ReturnType<Devices['placements']> {
    return this.#scope.once((db) => places.placements(db));
  }

  connectedIn(...[gateway, of, page]: Parameters<Devices['connectedIn']>): Promise<string[]> {
    return this.#scope.once((db) => places.connectedIn(db, gateway, of, page));
  }

  countByGroup(): ReturnType<Devices['countByGroup']> {
    return this.#scope.once((db) => places.countByGroup(db));
  }

  connectedByGateway(): Promise<Record<string, number>> {
    return this.#scope.once((db) => places.connectedByGateway(db));
  }

  sentAwayFrom(gateway: string, since: number): Promise<number> {
    return this.#scope.once((db) => places.sentAwayFrom(db, gateway, since));
  }

  #idRows(ids: readonly string[]) {
    return idRows(this.#scope.dialect, ids);
  }
}

async function change(db: Database, id: string, values: object): Promise<void> {
  const { numUpdatedRows } = await db
    .updateTable('devices')
    .set(values)
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows === 0n) throw new Problem('not-found', `there is no device ${id}`);
}
