/** Where devices are connected: counts and lists for balancing, drains and the sweep of lost workers. */
import { sql } from 'kysely';
import { bulkUpdate } from '../sql/bulk-update.ts';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import type { DevicePlace, Devices } from '../store.ts';
import { idRows } from './device-rows.ts';

const DEVICE = { device: 'text' } as const;

export async function incarnations(db: Database): Promise<string[]> {
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
}

export async function disconnectIncarnation(
  db: Database,
  dialect: SqlDialect,
  { incarnation, at, limit }: { incarnation: string; at: number; limit: number },
): Promise<string[]> {
  const there = sql`e.connected = 1 and e.incarnation = ${incarnation}`;
  const { rows } = await sql<{ device: string }>`
    select e.id as device from devices e where ${there} order by e.id limit ${limit}`.execute(db);
  const changed = await bulkUpdate(db, dialect, {
    table: 'devices',
    columns: DEVICE,
    rows,
    key: { id: 'device' },
    set: () => sql`connected = 0, disconnected_at = ${at}, close_code = null, close_reason = 'worker lost'`,
    where: () => there,
  });
  return changed.map((row) => row.device);
}

export async function places(
  db: Database,
  dialect: SqlDialect,
  ids: readonly string[],
): Promise<DevicePlace[]> {
  const { rows } = await sql<DevicePlace>`
    select d.id as id, d.gateway as gateway, d.session as session, d.connected_at as "connectedAt",
      g.path as "groupPath"
    from ${idRows(dialect, ids)} join devices d on d.id = r.id join groups g on g.id = d.group_id`.execute(
    db,
  );
  return rows;
}

export async function placements(db: Database): ReturnType<Devices['placements']> {
  const { rows } = await sql<Awaited<ReturnType<Devices['placements']>>[number]>`
    select c.group_id as "groupId", g.path as "groupPath", c.gateway as gateway, c.near as near,
      c.n as devices
    from (select gateway, group_id, near, count(*) as n from devices
      where connected = 1 and gateway is not null group by gateway, group_id, near) as c
    join groups as g on g.id = c.group_id`.execute(db);
  return rows;
}

export async function connectedIn(
  db: Database,
  gateway: string,
  { groupId, near }: { groupId: string; near: string },
  { after, before, limit }: { after: string; before: number; limit: number },
): Promise<string[]> {
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
}

export async function countByGroup(db: Database): ReturnType<Devices['countByGroup']> {
  const { rows } = await sql<{ groupId: string; groupPath: string; devices: number }>`
    select g.id as "groupId", g.path as "groupPath", c.n as devices
    from (select group_id, count(*) as n from devices group by group_id) as c
    join groups as g on g.id = c.group_id order by g.path`.execute(db);
  return rows;
}

export async function connectedByGateway(db: Database): Promise<Record<string, number>> {
  const { rows } = await sql<{ gateway: string | null; n: number }>`
    select gateway, count(*) as n from devices where connected = 1 group by gateway`.execute(db);
  return Object.fromEntries(rows.map(({ gateway, n }) => [gateway ?? '', n]));
}

export async function sentAwayFrom(db: Database, gateway: string, since: number): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    select count(*) as n from devices where connected = 0 and close_code >= 4000 and close_code < 4200
      and gateway = ${gateway} and disconnected_at >= ${since} and blocked_at is null`.execute(db);
  return rows[0]?.n ?? 0;
}
