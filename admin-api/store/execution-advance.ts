/** What devices reported, applied to the executions on record: one read, one write for a whole batch. */
import { sql } from 'kysely';
import { bulkUpdate } from './bulk-update.ts';
import { ADVANCE_COLUMNS, type AdvanceRow, advanced, EXECUTION_KEY } from './execution-rows.ts';
import type { Database, RowOf, SqlDialect } from './sql-dialect.ts';
import { FIRST_FINAL_CODE, stateCode, stateOf } from './state-codes.ts';
import type { Advance, ExecutionKey, Executions } from './store.ts';

type Answer = Awaited<ReturnType<Executions['advance']>>;

export async function advanceExecutions(
  db: Database,
  dialect: SqlDialect,
  reports: readonly Advance[],
): Promise<Answer> {
  const { rows } = await sql<AdvanceRow & ExecutionKey>`
    select e.command_id as command, e.device_id as device, e.state, e.reason, null as data_json, e.percent, e.note,
      e.acked_at, e.started_at, e.finished_at, e.finish_by, e.late_state, e.late_reason, e.late_at
    from ${dialect.rowsOf(EXECUTION_KEY, reports)}
    join executions e on e.command_id = r.command and e.device_id = r.device
    order by e.command_id, e.device_id ${dialect.forUpdate('e')}`.execute(db);
  const before = new Map(rows.map((row) => [keyOf(row), row]));
  const after = new Map(before);
  for (const report of reports) {
    const row = after.get(keyOf(report));
    if (row !== undefined) after.set(keyOf(report), { ...row, ...advanced(row, report) });
  }

  const written: RowOf<typeof ADVANCE_COLUMNS>[] = [];
  const changed: Answer['changed'] = [];
  for (const [key, row] of after) {
    const was = before.get(key) as AdvanceRow;
    if (differs(was, row)) written.push(row);
    if (row.state !== was.state) {
      changed.push({ command: row.command, device: row.device, state: stateOf(row.state) });
    }
  }
  await write(db, dialect, written);
  return { changed, current: current(reports, before, after) };
}

/** What the devices may be told: their result is on record, or their execution has ended or is not known here. */
function current(
  reports: readonly Advance[],
  before: ReadonlyMap<string, AdvanceRow>,
  after: ReadonlyMap<string, AdvanceRow>,
): Answer['current'] {
  const told = new Map<string, Answer['current'][number]>();
  for (const { command, device, state } of reports) {
    const key = keyOf({ command, device });
    const was = before.get(key);
    const ended = was === undefined || was.state >= FIRST_FINAL_CODE;
    if (!ended && stateCode(state) < FIRST_FINAL_CODE) continue;
    const now = after.get(key);
    told.set(key, { command, device, state: now === undefined ? null : stateOf(now.state) });
  }
  return [...told.values()];
}

async function write(
  db: Database,
  dialect: SqlDialect,
  rows: readonly RowOf<typeof ADVANCE_COLUMNS>[],
): Promise<void> {
  await bulkUpdate(db, dialect, {
    table: 'executions',
    columns: ADVANCE_COLUMNS,
    rows,
    key: { command_id: 'command', device_id: 'device' },
    set: sql`state = r.state, reason = r.reason, data_json = coalesce(r.data_json, e.data_json), percent = r.percent,
      note = r.note, acked_at = r.acked_at, started_at = r.started_at, finished_at = r.finished_at,
      finish_by = r.finish_by, late_state = r.late_state, late_reason = r.late_reason, late_at = r.late_at`,
    where: sql`1 = 1`,
  });
}

function differs(a: AdvanceRow, b: AdvanceRow): boolean {
  return (Object.keys(a) as (keyof AdvanceRow)[]).some((column) => a[column] !== b[column]);
}

function keyOf({ command, device }: ExecutionKey): string {
  return `${command}/${device}`;
}
