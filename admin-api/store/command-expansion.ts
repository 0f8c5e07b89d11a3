/** Making the execution rows of a command, a page of devices at a time. */
import { sql } from 'kysely';
import { bulkUpdate } from './bulk-update.ts';
import { EXECUTION_KEY } from './execution-rows.ts';
import type { CommandTable } from './schema.ts';
import type { Database, SqlDialect } from './sql-dialect.ts';
import { stateCode } from './state-codes.ts';
import type { Commands, CommandTarget, ExecutionKey } from './store.ts';

interface Picked {
  id: string;
  blocked_at: number | null;
}

/** Groups with at most this many devices are read through the index on groups and sorted; larger ones in id order. */
const SMALL_GROUP = 5_000;
const ID = { id: 'text' } as const;
const DEVICE = { device: 'text' } as const;
const NEW_ROWS = { device: 'text', state: 'integer', reason: 'text', finished_at: 'integer' } as const;

export async function expandCommand(
  db: Database,
  dialect: SqlDialect,
  id: string,
  limit: number,
  now: number,
): ReturnType<Commands['expand']> {
  const { rows } = await sql<CommandTable>`
    select * from commands as c where id = ${id} ${dialect.forUpdate('c')}`.execute(db);
  const command = rows[0];
  if (command === undefined || command.expanded === 1) return { devices: [], superseded: [], done: true };
  const target = JSON.parse(command.target_json) as CommandTarget;
  const page =
    'devices' in target
      ? await pickListed(db, dialect, target.devices, command.expand_cursor, limit)
      : await pickGroup(db, target.group, command, limit);
  const devices = await insertRows(db, dialect, command, page.devices, now);
  // What may be skipped takes nobody's place: the device would be left with neither.
  const supersedes = command.collapse_key !== null && command.offline === 'queue';
  const superseded = supersedes ? await supersedeOlder(db, dialect, command, devices, now) : [];
  await db
    .updateTable('commands')
    .set({ expand_cursor: page.cursor, expanded: page.done ? 1 : 0 })
    .where('id', '=', id)
    .execute();
  return { devices, superseded, done: page.done };
}

interface PickedPage {
  devices: Picked[];
  cursor: string;
  done: boolean;
}

function byId(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Devices deleted since the command was accepted get no row. */
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
  // Who enrols while a large group is laid out may be among them. No clock says who came first: clocks step, and servers differ.
  const rest = sql`d.id > ${command.expand_cursor}`;
  const some = await sql<{ n: number }>`
    select count(*) as n from (select 1 from devices d
      where d.group_id in (${groups}) and ${rest} limit ${sql.lit(SMALL_GROUP + 1)}) as sample`.execute(db);
  // `coalesce` keeps the databases from collecting a large group through its index and sorting it for every page.
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

/** Returns those that are queued. */
async function insertRows(
  db: Database,
  dialect: SqlDialect,
  command: CommandTable,
  devices: readonly Picked[],
  now: number,
): Promise<string[]> {
  const canceled = command.cancel_requested_at !== null;
  const queued = canceled ? [] : devices.filter((device) => device.blocked_at === null);
  const rows = devices.map(({ id: device, blocked_at }) =>
    canceled || blocked_at !== null
      ? {
          device,
          state: stateCode('canceled'),
          reason: canceled ? 'canceled before it was queued' : 'device blocked',
          finished_at: now,
        }
      : { device, state: stateCode('queued'), reason: null, finished_at: null },
  );
  if (queued.length === devices.length && queued.length > 0) {
    await sql`
      insert into executions (command_id, device_id, state, attempts)
      select ${command.id}, r.device, 0, 0 from ${dialect.rowsOf(
        DEVICE,
        queued.map(({ id: device }) => ({ device })),
      )}`.execute(db);
  } else if (rows.length > 0) {
    await sql`
      insert into executions (command_id, device_id, state, attempts, reason, finished_at)
      select ${command.id}, r.device, r.state, 0, r.reason, r.finished_at
      from ${dialect.rowsOf(NEW_ROWS, rows)}`.execute(db);
  }
  return queued.map((device) => device.id);
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

/** queued -> superseded, for those still queued. */
export async function supersede(
  db: Database,
  dialect: SqlDialect,
  keys: readonly ExecutionKey[],
  at: number,
): Promise<ExecutionKey[]> {
  const superseded = await bulkUpdate(db, dialect, {
    table: 'executions',
    columns: EXECUTION_KEY,
    rows: keys,
    key: { command_id: 'command', device_id: 'device' },
    set: () =>
      sql`state = ${sql.lit(stateCode('superseded'))}, reason = 'a newer command took its place', finished_at = ${at}`,
    where: () => sql`e.state = 0`,
  });
  return superseded.map(({ command, device }) => ({ command, device }));
}
