/** Inserts the execution rows of a command, one page of devices at a time. */
import { sql } from 'kysely';
import type { CommandTable } from '../sql/schema.ts';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import { stateCode } from '../sql/state-codes.ts';
import type { Commands, CommandTarget, ExecutionKey, Routes } from '../store.ts';
import { endOrMark } from './end-or-mark.ts';
import { insertSent, withNothingWaiting } from './sent-at-once.ts';

interface Picked {
  id: string;
  blocked_at: number | null;
}

/** Groups of up to this size are read through the index on groups and sorted; larger ones in id order. */
const SMALL_GROUP = 5_000;
const ID = { id: 'text' } as const;
const DEVICE = { device: 'text' } as const;

export async function expandCommand(
  db: Database,
  dialect: SqlDialect,
  id: string,
  limit: number,
  now: number,
  routes: Routes,
): ReturnType<Commands['expand']> {
  const { rows } = await sql<CommandTable>`
    select * from commands as c where id = ${id} ${dialect.forUpdate('c')}`.execute(db);
  const command = rows[0];
  if (command === undefined || command.expanded === 1) {
    return { queued: [], sent: [], superseded: [], done: true };
  }
  const page = await pick(db, dialect, command, limit);
  const { queued, sent } = await insertRows(db, dialect, command, page.devices, routes, now);
  // A command that skips offline devices supersedes nothing: the device could be left with neither.
  const supersedes = command.collapse_key !== null && command.offline === 'queue';
  const superseded = supersedes ? await supersedeOlder(db, dialect, command, queued, now) : [];
  await db
    .updateTable('commands')
    .set({ expand_cursor: page.cursor, expanded: page.done ? 1 : 0 })
    .where('id', '=', id)
    .execute();
  return { queued, sent, superseded, done: page.done };
}

export async function nextToExpand(
  db: Database,
  dialect: SqlDialect,
  id: string,
  limit: number,
  after: string | undefined,
): Promise<string[]> {
  const { rows } = await sql<CommandTable>`select * from commands where id = ${id} and expanded = 0`.execute(
    db,
  );
  const [command] = rows;
  if (command === undefined) return [];
  const there = after === undefined ? command : { ...command, expand_cursor: after };
  return (await pick(db, dialect, there, limit)).devices.map((device) => device.id);
}

interface PickedPage {
  devices: Picked[];
  cursor: string;
  done: boolean;
}

function pick(db: Database, dialect: SqlDialect, command: CommandTable, limit: number): Promise<PickedPage> {
  const target = JSON.parse(command.target_json) as CommandTarget;
  return 'devices' in target
    ? pickListed(db, dialect, target.devices, command.expand_cursor, limit)
    : pickGroup(db, target.group, command, limit);
}

function byId(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Devices that were deleted since the command was accepted get no row. */
async function pickListed(
  db: Database,
  dialect: SqlDialect,
  listed: readonly string[],
  cursor: string,
  limit: number,
): Promise<PickedPage> {
  const left = [...new Set(listed)].filter((device) => device > cursor).sort(byId);
  const ids = left.slice(0, limit);
  const { rows: devices } = await sql<Picked>`
    select d.id, d.blocked_at from ${dialect.rowsOf(
      ID,
      ids.map((device) => ({ id: device })),
    )} join devices d on d.id = r.id order by d.id`.execute(db);
  return { devices, cursor: ids.at(-1) ?? cursor, done: ids.length === left.length };
}

async function pickGroup(
  db: Database,
  group: string,
  command: CommandTable,
  limit: number,
): Promise<PickedPage> {
  const groups = sql`select g.id from groups g join groups top on top.id = ${group}
    where g.path >= top.path and g.path < substr(top.path, 1, length(top.path) - 1) || '0'`;
  // A device that enrols while a large group expands may be included. No clock could say what came first:
  // clocks step, and servers differ.
  const rest = sql`d.id > ${command.expand_cursor}`;
  const some = await sql<{ n: number }>`
    select count(*) as n from (select 1 from devices d
      where d.group_id in (${groups}) and ${rest} limit ${sql.lit(SMALL_GROUP + 1)}) as sample`.execute(db);
  // Without `coalesce` the databases would collect a large group through its index and sort it for each page.
  const large = (some.rows[0]?.n ?? 0) > SMALL_GROUP;
  const groupId = large ? sql`coalesce(d.group_id, '')` : sql`d.group_id`;
  const { rows: left } = await sql<Picked>`
    select d.id, d.blocked_at from devices d
    where ${groupId} in (${groups}) and ${rest} order by d.id limit ${limit + 1}`.execute(db);
  const devices = left.slice(0, limit);
  return {
    devices,
    cursor: devices.at(-1)?.id ?? command.expand_cursor,
    done: devices.length === left.length,
  };
}

async function insertRows(
  db: Database,
  dialect: SqlDialect,
  command: CommandTable,
  devices: readonly Picked[],
  routes: Routes,
  now: number,
): Promise<{ queued: string[]; sent: string[] }> {
  const canceled = command.cancel_requested_at !== null;
  const possible = canceled ? [] : devices.filter((device) => device.blocked_at === null);
  const routed = command.expires_at > now ? possible.map(({ id }) => id).filter((id) => routes.has(id)) : [];
  const free = await withNothingWaiting(db, dialect, routed);
  const sent = routed.filter((device) => free.has(device));
  await insertSent(
    db,
    dialect,
    sent.map((device) => ({ command: command.id, device })),
    routes,
    now,
  );
  const queued = possible.map(({ id }) => id).filter((device) => !free.has(device));
  if (queued.length > 0) {
    await sql`
      insert into executions (command_id, device_id, state, attempts)
      select ${command.id}, r.device, 0, 0 from ${dialect.rowsOf(
        DEVICE,
        queued.map((device) => ({ device })),
      )}`.execute(db);
  }
  const ended = canceled ? devices : devices.filter((device) => device.blocked_at !== null);
  if (ended.length > 0) {
    const reason = canceled ? 'canceled before it was queued' : 'device blocked';
    await sql`
      insert into executions (command_id, device_id, state, attempts, reason, finished_at)
      select ${command.id}, r.device, ${sql.lit(stateCode('canceled'))}, 0, ${reason}, ${now}
      from ${dialect.rowsOf(
        DEVICE,
        ended.map(({ id }) => ({ device: id })),
      )}`.execute(db);
  }
  return { queued, sent };
}

async function supersedeOlder(
  db: Database,
  dialect: SqlDialect,
  command: CommandTable,
  devices: readonly string[],
  now: number,
): Promise<ExecutionKey[]> {
  if (devices.length === 0) return [];
  const { rows } = await sql<ExecutionKey>`
    select e.command_id as command, e.device_id as device
    from ${dialect.rowsOf(
      ID,
      devices.map((id) => ({ id })),
    )}
    join executions e on e.device_id = r.id and e.state < 10 and e.state = 0 and e.command_id < ${command.id}
    join commands c on c.id = e.command_id and c.collapse_key = ${command.collapse_key}`.execute(db);
  return supersede(db, dialect, rows, now);
}

/** queued -> superseded, for those still queued and never sent; those that were sent once end a bit later. */
export async function supersede(
  db: Database,
  dialect: SqlDialect,
  keys: readonly ExecutionKey[],
  at: number,
): Promise<ExecutionKey[]> {
  return (await endOrMark(db, dialect, keys, 'supersede', at)).ended;
}
