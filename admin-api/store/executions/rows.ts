/** Execution rows: converts them to records, and computes how a report changes one. Pure. */
import type { CommandType } from '../../../protocol/command-types.ts';
import type { FinalState } from '../../../protocol/index.ts';
import { endCauseOf, LASTING } from '../end-causes.ts';
import type { Execution } from '../records.ts';
import type { ExecutionTable } from '../sql/schema.ts';
import { FIRST_FINAL_CODE, stateCode, stateOf } from '../sql/state-codes.ts';
import type { Advance } from '../store.ts';

export const EXECUTION_KEY = { command: 'text', device: 'text' } as const;

/**
 * The columns a report may change. `data_json` is `null` unless new data came: the stored data is not read.
 */
export const ADVANCE_COLUMNS = {
  ...EXECUTION_KEY,
  state: 'integer',
  reason: 'text',
  data_json: 'text',
  percent: 'integer',
  note: 'text',
  acked_at: 'integer',
  started_at: 'integer',
  finished_at: 'integer',
  finish_by: 'integer',
  late_state: 'integer',
  late_reason: 'text',
  late_at: 'integer',
  ending: 'integer',
  as_of: 'integer',
} as const;

export type AdvanceRow = Pick<ExecutionTable, Exclude<keyof typeof ADVANCE_COLUMNS, 'command' | 'device'>>;

/** The row after the report. */
export function advanced(row: AdvanceRow, report: Advance): AdvanceRow {
  const code = stateCode(report.state);
  if (row.state >= FIRST_FINAL_CODE) {
    // A device repeats its result until the ledger confirms it; only a different end is news.
    if (code < FIRST_FINAL_CODE || code === row.state || row.late_state !== null) return row;
    return {
      ...row,
      late_state: code,
      late_reason: report.reason,
      late_at: report.finishedAt ?? report.ackedAt ?? 0,
    };
  }
  const times = {
    acked_at: row.acked_at ?? report.ackedAt,
    started_at: row.started_at ?? report.startedAt,
    finish_by: row.finish_by ?? report.finishBy,
  };
  const further = code > row.state;
  // Of two reports in the same state, the later one has the newer progress.
  const current = code >= row.state;
  const next: AdvanceRow = {
    ...row,
    ...times,
    percent: (current ? (report.percent ?? row.percent) : (row.percent ?? report.percent)) ?? null,
    note: (current ? (report.note ?? row.note) : (row.note ?? report.note)) ?? null,
  };
  if (further) {
    next.state = code;
    if (code >= FIRST_FINAL_CODE) {
      next.finished_at = report.finishedAt;
      next.reason = report.reason;
      next.data_json = report.data === undefined ? null : JSON.stringify(report.data);
    }
    Object.assign(next, marksAfter(row, code));
  }
  return next;
}

/** The mark of a row after it moves to the state `code`. */
function marksAfter(row: Pick<ExecutionTable, 'ending' | 'as_of'>, code: number) {
  const stays = code < FIRST_FINAL_CODE && row.ending !== null && row.ending >= LASTING;
  return { ending: stays ? row.ending : null, as_of: stays ? row.as_of : null };
}

export type JoinedExecution = ExecutionTable & {
  type: string;
  issued_at: number;
  expires_at: number;
  secret: 0 | 1;
};

/** Whether the gateway had a late end by the moment as of which the ledger had ended the execution. */
export function lateInTime({ as_of, late_at }: Pick<ExecutionTable, 'as_of' | 'late_at'>): boolean {
  return as_of !== null && late_at !== null && late_at <= as_of;
}

/** The data of a secret command is encrypted text. */
function dataOf({ secret, data_json }: JoinedExecution): Pick<Execution, 'data' | 'secret'> {
  const data = data_json === null ? null : JSON.parse(data_json);
  return secret === 1 ? { data: null, secret: data } : { data };
}

export function toExecution(row: JoinedExecution): Execution {
  const ending = endCauseOf(row.ending);
  return {
    commandId: row.command_id,
    deviceId: row.device_id,
    type: row.type as CommandType,
    state: stateOf(row.state),
    reason: row.reason,
    ...dataOf(row),
    percent: row.percent,
    note: row.note,
    attempts: row.attempts,
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
    sentAt: row.sent_at,
    ackedAt: row.acked_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    finishBy: row.finish_by,
    incarnation: row.incarnation,
    session: row.session,
    late:
      row.late_state === null
        ? null
        : {
            state: stateOf(row.late_state) as FinalState,
            reason: row.late_reason,
            at: row.late_at ?? 0,
            inTime: lateInTime(row),
          },
    ending: ending === null || row.state >= FIRST_FINAL_CODE ? null : { how: ending, asOf: row.as_of ?? 0 },
  };
}
