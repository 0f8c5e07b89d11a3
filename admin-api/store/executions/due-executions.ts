/** Executions that the ledger has to end, read through the index that orders them by time. */
import { sql } from 'kysely';
import { endCauseOf } from '../end-causes.ts';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import { stateOf } from '../sql/state-codes.ts';
import type { Clock, DueExecution, ExecutionKey } from '../store.ts';

interface Row extends ExecutionKey {
  state: number;
  as_of: number;
  attempts: number;
  ending: number | null;
  through: string | null;
  incarnation: string | null;
  connected_at: number | null;
}

/** The session of a connected device: through which incarnation, and since when. */
const COLUMNS = sql`e.command_id as command, e.device_id as device, e.state, e.attempts, e.ending,
  e.incarnation as through, d.incarnation, d.connected_at`;
const SESSION = sql`left join devices d on d.id = e.device_id and d.connected = 1`;

export async function nextDue(db: Database, expiredUpTo: number): Promise<number | null> {
  // The conditions repeat those of the partial indices literally, because SQLite needs that.
  const { rows } = await sql<{ at: number | null }>`
    select min(at) as at from (
      select min(finish_by) as at from executions where state in (2, 3) and finish_by > 0
      union all select min(expires_at) from commands where finished_at is null and expires_at > ${expiredUpTo}
      union all select min(as_of) from executions
        where ending is not null and state < 10 and as_of > 0) as next`.execute(db);
  return rows[0]?.at ?? null;
}

export async function dueExecutions(
  db: Database,
  dialect: SqlDialect,
  clock: Clock,
  before: number,
  after: DueExecution | null,
  limit: number,
  expiredUpTo: number,
): Promise<DueExecution[]> {
  if (clock === 'delivery') return undelivered(db, dialect, before, after, limit, expiredUpTo);
  const { asOf, command, device } = after ?? { asOf: 0, command: '', device: '' };
  const from = {
    finish: sql`e.finish_by as as_of from executions e ${SESSION}
      where e.state in (2, 3) and e.finish_by >= ${asOf} and e.finish_by < ${before}
        and (e.finish_by, e.command_id, e.device_id) > (${asOf}, ${command}, ${device})
      order by e.finish_by, e.command_id, e.device_id`,
    ending: sql`e.as_of from executions e ${SESSION}
      where e.ending is not null and e.state < 10 and e.as_of >= ${asOf} and e.as_of < ${before}
        and (e.as_of, e.command_id, e.device_id) > (${asOf}, ${command}, ${device})
      order by e.as_of, e.command_id, e.device_id`,
  }[clock];
  const { rows } = await sql<Row>`select ${COLUMNS}, ${from} limit ${limit}`.execute(db);
  return rows.map(toDueExecution);
}

/**
 * Executions past their command's deliver-by time: the rest of the command of `after`, then later commands.
 */
async function undelivered(
  db: Database,
  dialect: SqlDialect,
  before: number,
  after: DueExecution | null,
  limit: number,
  expiredUpTo: number,
): Promise<DueExecution[]> {
  const select = sql`select ${COLUMNS}, c.expires_at as as_of
    from commands c join executions e ${dialect.byIndex('executions_command_open')}
      on e.command_id = c.id and e.state < 10 and e.state in (0, 1) ${SESSION}
    where c.finished_at is null and c.expires_at > ${expiredUpTo} and c.expires_at < ${before}`;
  const rows: Row[] = [];
  if (after !== null) {
    // Two statements, because no index spans commands and executions.
    const rest = sql<Row>`${select} and c.id = ${after.command} and e.command_id = ${after.command}
      and e.device_id > ${after.device} order by e.device_id limit ${limit}`;
    rows.push(...(await rest.execute(db)).rows);
  }
  if (rows.length < limit) {
    const onwards =
      after === null
        ? sql``
        : sql`and c.expires_at >= ${after.asOf} and (c.expires_at, c.id) > (${after.asOf}, ${after.command})`;
    const next = sql<Row>`${select} ${onwards}
      order by c.expires_at, c.id, e.device_id limit ${limit - rows.length}`;
    rows.push(...(await next.execute(db)).rows);
  }
  return rows.map(toDueExecution);
}

function toDueExecution(row: Row): DueExecution {
  const { command, device, attempts, as_of: asOf, through, incarnation, connected_at: since } = row;
  const session = incarnation === null || since === null ? null : { incarnation, since };
  const ending = endCauseOf(row.ending);
  return { command, device, state: stateOf(row.state), attempts, asOf, ending, session, through };
}
