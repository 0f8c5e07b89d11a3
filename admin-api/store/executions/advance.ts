/** Applies devices' reports to stored executions: one read and one write for a whole batch. */
import { sql } from 'kysely';
import { ByExecution } from '../by-execution.ts';
import { bulkUpdate } from '../sql/bulk-update.ts';
import type { Database, RowOf, SqlDialect } from '../sql/sql-dialect.ts';
import { FIRST_FINAL_CODE, stateCode, stateOf } from '../sql/state-codes.ts';
import type { Advance, ExecutionKey, Executions } from '../store.ts';
import { staysMarked } from './end-or-mark.ts';
import { ADVANCE_COLUMNS, type AdvanceRow, advanced, EXECUTION_KEY, lateInTime } from './rows.ts';

type Answer = Awaited<ReturnType<Executions['advance']>>;

const KEY = { command_id: 'command', device_id: 'device' } as const;
const MOVE_COLUMNS = {
  ...EXECUTION_KEY,
  code: 'integer',
  new_percent: 'integer',
  new_note: 'text',
  new_acked_at: 'integer',
  new_started_at: 'integer',
  new_finished_at: 'integer',
  new_finish_by: 'integer',
  new_reason: 'text',
  new_data: 'text',
} as const;

/**
 * Most reports move an open execution forward, which one conditional statement does. Only the others are
 * read: repetitions, late reports, and ends that differ from the stored one.
 */
export async function advanceExecutions(
  db: Database,
  dialect: SqlDialect,
  reports: readonly Advance[],
): Promise<Answer> {
  const firsts = new ByExecution<Advance>();
  for (const report of reports) if (!firsts.get(report)) firsts.set(report, report);
  const rows = firsts.values();
  await leaveOutUnwanted(db, dialect, rows);
  const moved = await moveForward(db, dialect, rows);
  const answer = await advanceOthers(db, dialect, without(reports, moved));
  const changed = moved.map(({ command, device, state }) => ({ command, device, state }));
  return {
    changed: [...changed, ...answer.changed],
    current: [
      ...moved
        .filter(({ state }) => stateCode(state) >= FIRST_FINAL_CODE)
        .map((report) => ({ report, state: report.state })),
      ...answer.current,
    ],
    late: answer.late,
  };
}

function without(reports: readonly Advance[], moved: readonly Advance[]): readonly Advance[] {
  if (moved.length === reports.length) return [];
  const done = new Set(moved);
  return reports.filter((report) => !done.has(report));
}

/** Data for executions that are not open is not kept, so long data is not turned into text either. */
async function leaveOutUnwanted(
  db: Database,
  dialect: SqlDialect,
  reports: readonly Advance[],
): Promise<void> {
  const long = reports.filter(({ longData }) => longData === true);
  if (long.length === 0) return;
  const { rows } = await sql<ExecutionKey>`
    select e.command_id as command, e.device_id as device
    from ${dialect.rowsOf(EXECUTION_KEY, long)}
    join executions e on e.command_id = r.command and e.device_id = r.device
    where e.state < ${sql.lit(FIRST_FINAL_CODE)}`.execute(db);
  const open = new Set(rows.map(keyOf));
  for (const report of long) if (!open.has(keyOf(report))) delete report.data;
}

/** Moves open executions in an earlier state forward; returns the reports that found one. */
async function moveForward(
  db: Database,
  dialect: SqlDialect,
  reports: readonly Advance[],
): Promise<Advance[]> {
  const moved = await bulkUpdate(db, dialect, {
    table: 'executions',
    columns: MOVE_COLUMNS,
    rows: reports.map(toMove()),
    key: KEY,
    set: (r) => sql`state = ${r('code')}, percent = coalesce(${r('new_percent')}, e.percent),
      note = coalesce(${r('new_note')}, e.note), acked_at = coalesce(e.acked_at, ${r('new_acked_at')}),
      started_at = coalesce(e.started_at, ${r('new_started_at')}), finished_at = ${r('new_finished_at')},
      finish_by = coalesce(e.finish_by, ${r('new_finish_by')}), reason = ${r('new_reason')},
      data_json = ${r('new_data')},
      ending = case when ${staysMarked(r('code'))} then e.ending end,
      as_of = case when ${staysMarked(r('code'))} then e.as_of end`,
    where: (r) => sql`e.state < ${sql.lit(FIRST_FINAL_CODE)} and e.state < ${r('code')}`,
  });
  return moved.map(({ report }) => report);
}

/** Reports in a row that share what a device returned are written with one text. */
function toMove() {
  let written: { data: unknown; json: string } | undefined;
  return (report: Advance) => {
    const { data } = report;
    if (data !== undefined && written?.data !== data) written = { data, json: JSON.stringify(data) };
    return moveOf(report, data === undefined ? null : (written?.json ?? null));
  };
}

function moveOf(report: Advance, json: string | null) {
  const code = stateCode(report.state);
  const final = code >= FIRST_FINAL_CODE;
  return {
    report,
    command: report.command,
    device: report.device,
    code,
    new_percent: report.percent,
    new_note: report.note,
    new_acked_at: report.ackedAt,
    new_started_at: report.startedAt,
    new_finished_at: final ? report.finishedAt : null,
    new_finish_by: report.finishBy,
    new_reason: final ? report.reason : null,
    new_data: final ? json : null,
  };
}

async function advanceOthers(
  db: Database,
  dialect: SqlDialect,
  reports: readonly Advance[],
): Promise<Answer> {
  if (reports.length === 0) return { changed: [], current: [], late: [] };
  const { rows } = await sql<AdvanceRow & ExecutionKey>`
    select e.command_id as command, e.device_id as device, e.state, e.reason, null as data_json, e.percent,
      e.note, e.acked_at, e.started_at, e.finished_at, e.finish_by, e.late_state, e.late_reason, e.late_at,
      e.ending, e.as_of
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
  const late: Answer['late'] = [];
  for (const [key, row] of after) {
    const was = before.get(key) as AdvanceRow;
    if (differs(was, row)) written.push(row);
    if (row.late_state !== null && was.late_state === null) {
      late.push({ ended: stateOf(row.state), state: stateOf(row.late_state), inTime: lateInTime(row) });
    }
    if (row.state !== was.state) {
      changed.push({ command: row.command, device: row.device, state: stateOf(row.state) });
    }
  }
  await write(db, dialect, written);
  return { changed, current: current(reports, before, after), late };
}

/** The answers to devices: their result is stored, or their execution has ended or is unknown. */
function current(
  reports: readonly Advance[],
  before: ReadonlyMap<string, AdvanceRow>,
  after: ReadonlyMap<string, AdvanceRow>,
): Answer['current'] {
  const told = new Map<string, Answer['current'][number]>();
  for (const report of reports) {
    const key = keyOf(report);
    const was = before.get(key);
    const ended = was === undefined || was.state >= FIRST_FINAL_CODE;
    if (!ended && stateCode(report.state) < FIRST_FINAL_CODE) continue;
    const now = after.get(key);
    told.set(key, { report, state: now === undefined ? null : stateOf(now.state) });
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
    key: KEY,
    set: (r) => sql`state = ${r('state')}, reason = ${r('reason')},
      data_json = coalesce(${r('data_json')}, e.data_json), percent = ${r('percent')}, note = ${r('note')},
      acked_at = ${r('acked_at')}, started_at = ${r('started_at')}, finished_at = ${r('finished_at')},
      finish_by = ${r('finish_by')}, late_state = ${r('late_state')}, late_reason = ${r('late_reason')},
      late_at = ${r('late_at')}, ending = ${r('ending')}, as_of = ${r('as_of')}`,
    where: () => sql`1 = 1`,
  });
}

function differs(a: AdvanceRow, b: AdvanceRow): boolean {
  return (Object.keys(a) as (keyof AdvanceRow)[]).some((column) => a[column] !== b[column]);
}

function keyOf({ command, device }: ExecutionKey): string {
  return `${command}/${device}`;
}
