import { sql } from 'kysely';
import type { Compliance, MeasuredGateway } from '../../../protocol/index.ts';
import { Problem } from '../../problems.ts';
import type { Copies, Device, Page, PageRequest } from '../records.ts';
import { bulkUpdate } from '../sql/bulk-update.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { DeviceTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import type { Database } from '../sql/sql-dialect.ts';
import { searchPattern, searchText } from '../sql/text-filters.ts';
import type {
  DeviceFilter,
  DeviceMembership,
  DevicePlace,
  Devices,
  SecretGenerations,
  SessionChange,
  StatusReport,
} from '../store.ts';
import { deviceLeaves } from './group-keys.ts';
import { requireGroup } from './groups.ts';
import { releaseKeys } from './refused-keys.ts';
import { SESSION_COLUMNS, type SessionRow, sessionApplied } from './sessions.ts';

type DeletionKind = NonNullable<Parameters<Devices['delete']>[2]>;

const ID = { id: 'text' } as const;
const DEVICE = { device: 'text' } as const;
const SESSION_COLUMN_NAMES = Object.keys(SESSION_COLUMNS) as (keyof typeof SESSION_COLUMNS)[];

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

  applyNames(
    rows: readonly { device: string; name: string }[],
  ): Promise<{ device: string; name: string; before: string }[]> {
    return this.#scope.atomic(async (db) => {
      const { rows: known } = await sql<Pick<DeviceTable, 'id' | 'name'>>`
        select e.id, e.name from ${this.#idRows(rows.map(({ device }) => device))}
        join devices e on e.id = r.id
        order by e.id ${this.#scope.dialect.forUpdate('e')}`.execute(db);
      const before = new Map(known.map(({ id, name }) => [id, name]));
      const changed = await bulkUpdate(db, this.#scope.dialect, {
        table: 'devices',
        columns: NAME_COLUMNS,
        rows: rows.map(({ device, name }) => ({
          device,
          new_name: name,
          new_search: searchText(device, name),
        })),
        key: { id: 'device' },
        set: (r) => sql`name = ${r('new_name')}, search = ${r('new_search')}`,
        where: (r) => sql`(e.named = 0 and e.name <> ${r('new_name')})`,
      });
      return changed.map(({ device, new_name: name }) => ({
        device,
        name,
        before: before.get(device) ?? '',
      }));
    });
  }

  applyDisplaced(devices: readonly string[], at: number): Promise<Device[]> {
    return this.#scope.atomic(async (db) => {
      await bulkUpdate(db, this.#scope.dialect, {
        table: 'devices',
        columns: DISPLACED_COLUMNS,
        rows: devices.map((device) => ({ device, at })),
        key: { id: 'device' },
        set: (r) => sql`displaced_at = ${r('at')},
          displaced = case when displaced_at >= ${at - DISPLACED_APART_MS} then displaced + 1 else 1 end`,
        where: () => sql`1 = 1`,
      });
      const { rows } = await sql<DeviceTable>`
        select e.* from ${this.#idRows(devices)} join devices e on e.id = r.id order by e.id`.execute(db);
      return rows.map(toDevice);
    });
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
    const connected: string[] = [];
    const disconnected: string[] = [];
    if (changes.length === 0) return { connected, disconnected };
    await this.#scope.atomic(async (db) => {
      connected.length = 0;
      disconnected.length = 0;
      // A row has twice as many columns.
      const columns = sql.join(SESSION_COLUMN_NAMES.map((column) => sql.ref(`e.${column}`)));
      const { rows } = await sql<SessionRow>`
        select ${columns} from ${this.#idRows(changes.map((c) => c.device))} join devices e on e.id = r.id
        order by e.id ${this.#scope.dialect.forUpdate('e')}`.execute(db);
      const known = new Map(rows.map((row) => [row.id, row]));
      const changed = new Map<string, SessionRow>();
      for (const report of changes) {
        const row = known.get(report.device);
        const next = row === undefined ? null : sessionApplied(row, report);
        if (next === null) continue;
        known.set(next.id, next);
        changed.set(next.id, next);
      }
      const before = new Map(rows.map((row) => [row.id, row]));
      for (const { id, connected: now, session } of changed.values()) {
        const was = before.get(id) as SessionRow;
        if (now === 1 && (was.connected === 0 || was.session !== session)) connected.push(id);
        if (now === 0 && was.connected === 1) disconnected.push(id);
      }
      await bulkUpdate(db, this.#scope.dialect, {
        table: 'devices',
        columns: SESSION_COLUMNS,
        rows: [...changed.values()],
        key: { id: 'id' },
        set: (r) =>
          sql.join(
            SESSION_COLUMN_NAMES.filter((column) => column !== 'id').map(
              (column) => sql`${sql.ref(column)} = ${r(column)}`,
            ),
          ),
        where: () => sql`1 = 1`,
      });
    });
    return { connected, disconnected };
  }

  async applyStatus(rows: readonly StatusReport[]): Promise<string[]> {
    return this.#scope.atomic(async (db) => {
      const changed = await bulkUpdate(db, this.#scope.dialect, {
        table: 'devices',
        columns: STATUS_COLUMNS,
        rows: rows.map(({ device, number, policy, compliance }) => ({
          ...{ device, number },
          new_policy: policy ?? null,
          new_compliance: compliance ?? null,
        })),
        key: { id: 'device' },
        set: (r) => sql`policy = coalesce(${r('new_policy')}, policy),
          compliance = coalesce(${r('new_compliance')}, compliance), status_number = ${r('number')}`,
        where: (r) => sql`${r('number')} > e.status_number`,
      });
      return changed.map((row) => row.device);
    });
  }

  applyMeasures(
    rows: readonly { device: string; near: string; measured: MeasuredGateway[] }[],
  ): Promise<void> {
    return this.#scope.atomic(async (db) => {
      await bulkUpdate(db, this.#scope.dialect, {
        table: 'devices',
        columns: MEASURE_COLUMNS,
        rows: rows.map(({ device, near, measured }) => ({
          device,
          new_near: near,
          new_measured: measured.length === 0 ? null : JSON.stringify(measured),
        })),
        key: { id: 'device' },
        set: (r) => sql`near = ${r('new_near')}, measured_json = ${r('new_measured')}`,
        where: (r) =>
          sql`(e.near <> ${r('new_near')} or e.measured_json is distinct from ${r('new_measured')})`,
      });
    });
  }

  incarnations(): Promise<string[]> {
    return this.#scope.once(async (db) => {
      // From one to the next through the index: there are a hundred thousand devices and a handful of
      // incarnations.
      const next = sql`select min(incarnation) from devices where connected = 1`;
      const { rows } = await sql<{ incarnation: string }>`
        with recursive found (incarnation) as (
          ${next}
          union all
          select (${next} and incarnation > found.incarnation) from found where found.incarnation is not null)
        select incarnation from found where incarnation is not null`.execute(db);
      return rows.map((row) => row.incarnation);
    });
  }

  disconnectIncarnation(incarnation: string, at: number, limit: number): Promise<string[]> {
    return this.#scope.atomic(async (db) => {
      const there = sql`e.connected = 1 and e.incarnation = ${incarnation}`;
      const { rows } = await sql<{ device: string }>`
        select e.id as device from devices e where ${there} order by e.id limit ${limit}`.execute(db);
      const changed = await bulkUpdate(db, this.#scope.dialect, {
        table: 'devices',
        columns: DEVICE,
        rows,
        key: { id: 'device' },
        set: () =>
          sql`connected = 0, disconnected_at = ${at}, close_code = null, close_reason = 'worker lost'`,
        where: () => there,
      });
      return changed.map((row) => row.device);
    });
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
    return this.#scope.ahead(async (db) => {
      const { rows } = await sql<DevicePlace>`
        select d.id as id, d.gateway as gateway, d.session as session, d.connected_at as "connectedAt",
          g.path as "groupPath"
        from ${this.#idRows(ids)} join devices d on d.id = r.id join groups g on g.id = d.group_id`.execute(
        db,
      );
      return rows;
    });
  }

  placements(): ReturnType<Devices['placements']> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<Awaited<ReturnType<Devices['placements']>>[number]>`
        select c.group_id as "groupId", g.path as "groupPath", c.gateway as gateway, c.near as near,
          c.n as devices
        from (select gateway, group_id, near, count(*) as n from devices
          where connected = 1 and gateway is not null group by gateway, group_id, near) as c
        join groups as g on g.id = c.group_id`.execute(db);
      return rows;
    });
  }

  connectedIn(
    gateway: string,
    { groupId, near }: { groupId: string; near: string },
    { after, before, limit }: { after: string; before: number; limit: number },
  ): Promise<string[]> {
    return this.#scope.once(async (db) => {
      const rows = await db
        .selectFrom('devices')
        .select('id')
        .where(sql<boolean>`connected = 1`)
        .where('gateway', '=', gateway)
        .where('group_id', '=', groupId)
        .where('near', '=', near)
        .where('id', '>', after)
        .where('connected_at', '<=', before)
        .orderBy('id')
        .limit(limit)
        .execute();
      return rows.map((row) => row.id);
    });
  }

  countByGroup(): Promise<{ groupId: string; groupPath: string; devices: number }[]> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<{ groupId: string; groupPath: string; devices: number }>`
        select g.id as "groupId", g.path as "groupPath", c.n as devices
        from (select group_id, count(*) as n from devices group by group_id) as c
        join groups as g on g.id = c.group_id order by g.path`.execute(db);
      return rows;
    });
  }

  connectedByGateway(): Promise<Record<string, number>> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<{ gateway: string | null; n: number }>`
        select gateway, count(*) as n from devices where connected = 1 group by gateway`.execute(db);
      return Object.fromEntries(rows.map(({ gateway, n }) => [gateway ?? '', n]));
    });
  }

  sentAwayFrom(gateway: string, since: number): Promise<number> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<{ n: number }>`
        select count(*) as n from devices where connected = 0 and close_code >= 4000 and close_code < 4200
          and gateway = ${gateway} and disconnected_at >= ${since} and blocked_at is null`.execute(db);
      return rows[0]?.n ?? 0;
    });
  }

  #idRows(ids: readonly string[]) {
    return this.#scope.dialect.rowsOf(
      ID,
      [...new Set(ids)].map((id) => ({ id })),
    );
  }
}

const NAME_COLUMNS = { device: 'text', new_name: 'text', new_search: 'text' } as const;
const DISPLACED_COLUMNS = { device: 'text', at: 'integer' } as const;
const DISPLACED_APART_MS = 3_600_000;
const MEASURE_COLUMNS = { device: 'text', new_near: 'text', new_measured: 'text' } as const;
const STATUS_COLUMNS = {
  device: 'text',
  new_policy: 'text',
  new_compliance: 'text',
  number: 'integer',
} as const;

function withPath(db: Database) {
  return db
    .selectFrom('devices as d')
    .innerJoin('groups as g', 'g.id', 'd.group_id')
    .selectAll('d')
    .select('g.path');
}

function filtered(db: Database, { group, state, gateway, text }: DeviceFilter) {
  let query = db.selectFrom('devices as d');
  if (group !== undefined) {
    query = query.where((where) =>
      where(
        'd.group_id',
        'in',
        where
          .selectFrom('groups as g')
          .select('g.id')
          // The subtree as a range of paths, as in `inSubtree`, but of a path that is itself looked up.
          .where(sql<boolean>`g.path >= (select path from groups where id = ${group})
            and g.path < (select substr(path, 1, length(path) - 1) || '0' from groups where id = ${group})`),
      ),
    );
  }
  // Written out and not bound, so that the partial index on connected devices can serve.
  if (state === 'blocked') query = query.where('d.blocked_at', 'is not', null);
  if (state === 'connected') query = query.where(sql<boolean>`d.connected = 1 and d.blocked_at is null`);
  if (state === 'disconnected') query = query.where(sql<boolean>`d.connected = 0 and d.blocked_at is null`);
  if (gateway !== undefined) query = query.where('d.gateway', '=', gateway);
  if (text !== undefined) query = query.where(searchPattern('d.search', text));
  return query;
}

async function change(db: Database, id: string, values: object): Promise<void> {
  const { numUpdatedRows } = await db
    .updateTable('devices')
    .set(values)
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows === 0n) throw new Problem('not-found', `there is no device ${id}`);
}

function toDevice(row: DeviceTable): Device {
  return {
    id: row.id,
    groupId: row.group_id,
    name: row.name,
    platform: row.platform,
    software: row.software,
    publicKey: new Uint8Array(row.public_key),
    membershipRevision: row.membership_revision,
    blockedAt: row.blocked_at,
    createdAt: row.created_at,
    session: row.session,
    connected: row.connected === 1,
    gateway: row.gateway,
    worker: row.worker,
    incarnation: row.incarnation,
    address: row.address,
    caps: JSON.parse(row.caps_json) as string[],
    connectedAt: row.connected_at,
    disconnectedAt: row.disconnected_at,
    closeCode: row.close_code,
    closeReason: row.close_reason,
    displacedCount: row.displaced,
    displacedAt: row.displaced_at,
    copies: row.copies_json === null ? null : (JSON.parse(row.copies_json) as Copies),
    clonedAt: row.cloned_at,
    generation: row.generation,
    offered: row.offered,
    policy: row.policy,
    compliance: row.compliance as Compliance | null,
    measured: row.measured_json === null ? [] : (JSON.parse(row.measured_json) as MeasuredGateway[]),
  };
}
