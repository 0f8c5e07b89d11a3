/**
 * Execution states as the small integers that the database keeps. Open states ascend in the order in which an
 * execution passes through them, and every final state is above every open one. So "further than" and "still
 * open" are comparisons.
 */
import { EXECUTION_STATES, type ExecutionState } from '../../../protocol/index.ts';
import type { StateCounts } from '../records.ts';

const CODES: Record<ExecutionState, number> = {
  queued: 0,
  sent: 1,
  acked: 2,
  running: 3,
  succeeded: 10,
  failed: 11,
  rejected: 12,
  canceled: 13,
  expired: 14,
  'timed-out': 15,
  superseded: 16,
};

const STATES = new Map(EXECUTION_STATES.map((state) => [CODES[state], state]));

/** Codes below this one are open. The partial indices of the migrations spell these numbers out. */
export const FIRST_FINAL_CODE = 10;

export function stateCode(state: ExecutionState): number {
  return CODES[state];
}

/** Throws for an unknown number: something else wrote to the database. */
export function stateOf(code: number): ExecutionState {
  const state = STATES.get(code);
  if (state === undefined) throw new Error(`no execution state has the code ${code}`);
  return state;
}

export function noCounts(): StateCounts {
  const counts = { total: 0 } as StateCounts;
  for (const state of EXECUTION_STATES) counts[state] = 0;
  return counts;
}
