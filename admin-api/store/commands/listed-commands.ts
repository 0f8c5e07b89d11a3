/** Many commands at once that each name few devices: a hundred take as many statements as one. */
import { sql } from 'kysely';
import { claimKeys } from '../access/idempotency-keys.ts';
import { supersede } from '../executions/command-expansion.ts';
import { insertSent, withNothingWaiting } from '../executions/sent-at-once.ts';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import { stateCode } from '../sql/state-codes.ts';
import type { Commands, ExecutionKey, NewCommand, Routes } from '../store.ts';

type Answer = Awaited<ReturnType<Commands['createListed']>>;

const ID = { id: 'text' } as const;
const NEW_COMMAND = {
  id: 'text',
  type: 'text',
  args_json: 'text',
  target_json: 'text',
  offline: 'text',
  collapse_key: 'text',
  issued_at: 'integer',
  expires_at: 'integer',
  timeout_ms: 'integer',
  created_by: 'text',
  secret: 'integer',
  expand_cursor: 'text',
} as const;
const NEW_EXECUTION = {
  command: 'text',
  device: 'text',
  state: 'integer',
  reason: 'text',
  finished_at: 'integer',
} as const;
const NEWER = { command: 'text', device: 'text', collapse_key: 'text' } as const;

type Listed = NewCommand & { target: { devices: string[] } };

export async function createListed(
  db: Database,
  dialect: SqlDialect,
  commands: readonly Listed[],
  now: number,
  routes: Routes,
): Promise<Answer> {
  const blocked = await blockedAmong(db, dialect, commands);
  const isKnown = ({ target }: Listed) => target.devices.every((device) => blocked.has(device));
  const used = await claimKeys(db, dialect, commands.filter(isKnown));
  const made = commands.filter((command) => isKnown(command) && !used.has(command.id));
  const free = await freeToSend(db, dialect, made, blocked, routes, now);
  const answers = commands.map(({ id, target }): Answer['answers'][number] => {
    const unknown = target.devices.filter((device) => !blocked.has(device));
    if (unknown.length > 0) return { unknown };
    const inUse = used.get(id);
    if (inUse) return inUse;
    const possible = target.devices.filter((device) => blocked.get(device) === false);
    return {
      queued: possible.filter((device) => !free.has(device)),
      sent: possible.filter((device) => free.has(device)),
      canceled: target.devices.length - possible.length,
    };
  });
  if (made.length === 0) return { answers, superseded: [] };
  await insertCommands(db, dialect, made);
  const executions = made.flatMap(({ id: command, target }) =>
    target.devices.map((device) => ({ command, device })),
  );
  const sent = executions.filter(({ device }) => free.has(device));
  await insertSent(db, dialect, sent, routes, now);
  await insertOthers(
    db,
    dialect,
    executions.filter(({ device }) => !free.has(device)),
    blocked,
    now,
  );
  return { answers, superseded: await supersedeOlder(db, dialect, made, now) };
}

/** Devices that have a route and nothing pending, and that only one of the commands names. */
async function freeToSend(
  db: Database,
  dialect: SqlDialect,
  commands: readonly Listed[],
  blocked: ReadonlyMap<string, boolean>,
  routes: Routes,
  now: number,
): Promise<Set<string>> {
  const times = new Map<string, number>();
  for (const { target } of commands) {
    for (const device of target.devices) times.set(device, (times.get(device) ?? 0) + 1);
  }
  const routed = commands
    .filter(({ expiresAt }) => expiresAt > now)
    .flatMap(({ target }) => target.devices)
    .filter((device) => times.get(device) === 1 && routes.has(device) && blocked.get(device) === false);
  return withNothingWaiting(db, dialect, routed);
}

async function insertOthers(
  db: Database,
  dialect: SqlDialect,
  keys: readonly ExecutionKey[],
  blocked: ReadonlyMap<string, boolean>,
  now: number,
): Promise<void> {
  if (keys.length === 0) return;
  const rows = keys.map(({ command, device }) =>
    blocked.get(device)
      ? { command, device, state: stateCode('canceled'), reason: 'device blocked', finished_at: now }
      : { command, device, state: stateCode('queued'), reason: null, finished_at: null },
  );
  await sql`
    insert into executions (command_id, device_id, state, attempts, reason, finished_at)
    select r.command, r.device, r.state, 0, r.reason, r.finished_at
    from ${dialect.rowsOf(NEW_EXECUTION, rows)}`.execute(db);
}

/** For each known device, whether it is blocked. */
async function blockedAmong(db: Database, dialect: SqlDialect, commands: readonly Listed[]) {
  const ids = [...new Set(commands.flatMap(({ target }) => target.devices))];
  const { rows } = await sql<{ id: string; blocked_at: number | null }>`
    select d.id, d.blocked_at from ${dialect.rowsOf(
      ID,
      ids.map((id) => ({ id })),
    )} join devices d on d.id = r.id`.execute(db);
  return new Map(rows.map((row) => [row.id, row.blocked_at !== null]));
}

async function insertCommands(db: Database, dialect: SqlDialect, commands: readonly Listed[]): Promise<void> {
  const rows = commands.map((command) => ({
    ...rowOf(command),
    expand_cursor: [...command.target.devices].sort().at(-1) ?? '',
  }));
  const columns = sql.join(Object.keys(NEW_COMMAND).map((name) => sql.ref(name)));
  await sql`
    insert into commands (${columns}, expanded) select ${columns}, 1
    from ${dialect.rowsOf(NEW_COMMAND, rows)}`.execute(db);
}

/** The part of a command's row that its creator decides. */
export function rowOf(command: NewCommand) {
  return {
    id: command.id,
    type: command.type,
    args_json: JSON.stringify(command.secret?.atRest ?? command.args ?? null),
    secret: command.secret ? (1 as const) : (0 as const),
    target_json: JSON.stringify(command.target),
    offline: command.offline,
    collapse_key: command.collapseKey,
    issued_at: command.issuedAt,
    expires_at: command.expiresAt,
    timeout_ms: command.timeoutMs,
    created_by: command.createdBy,
  };
}

/** Also among the new commands: of two for one device, the older is superseded at once. */
async function supersedeOlder(
  db: Database,
  dialect: SqlDialect,
  commands: readonly Listed[],
  now: number,
): Promise<ExecutionKey[]> {
  // A command that skips offline devices supersedes nothing: the device could be left with neither.
  const newer = commands.flatMap(({ id: command, target, collapseKey, offline }) =>
    collapseKey === null || offline !== 'queue'
      ? []
      : target.devices.map((device) => ({ command, device, collapse_key: collapseKey })),
  );
  if (newer.length === 0) return [];
  const { rows } = await sql<ExecutionKey>`
    select distinct e.command_id as command, e.device_id as device
    from ${dialect.rowsOf(NEWER, newer)}
    join executions n on n.command_id = r.command and n.device_id = r.device and n.state < 10
    join executions e on e.device_id = r.device and e.state < 10 and e.state = 0 and e.command_id < r.command
    join commands c on c.id = e.command_id and c.collapse_key = r.collapse_key`.execute(db);
  return supersede(db, dialect, rows, now);
}
