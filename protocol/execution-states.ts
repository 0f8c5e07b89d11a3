/**
 * The states of an execution (a command on one device), and nothing else:
 *
 *   queued -> sent -> acked -> running -> succeeded | failed | rejected
 *   queued | sent | acked | running -> canceled | expired | timed-out | superseded
 *
 * A device that ends at once skips `acked` and `running`. `sent` falls back to `queued` when the session ends
 * without an acknowledgement.
 */
export const OPEN_STATES = ['queued', 'sent', 'acked', 'running'] as const;
export const FINAL_STATES = [
  'succeeded',
  'failed',
  'rejected',
  'canceled',
  'expired',
  'timed-out',
  'superseded',
] as const;
// Spelt out: a bundler drops it where it is not used, which it does not do with spread arrays.
export const EXECUTION_STATES = [
  'queued',
  'sent',
  'acked',
  'running',
  'succeeded',
  'failed',
  'rejected',
  'canceled',
  'expired',
  'timed-out',
  'superseded',
] as const satisfies readonly ExecutionState[];

export type OpenState = (typeof OPEN_STATES)[number];
export type FinalState = (typeof FINAL_STATES)[number];
export type ExecutionState = OpenState | FinalState;

/** What a device may report as the end of an execution; only the ledger sets the other final states. */
export const REPORTABLE_STATES = [
  'succeeded',
  'failed',
  'rejected',
  'canceled',
  'expired',
  'timed-out',
] as const satisfies readonly FinalState[];
export type ReportableState = (typeof REPORTABLE_STATES)[number];

const finals: ReadonlySet<string> = /* @__PURE__ */ new Set(FINAL_STATES);

export function isFinal(state: ExecutionState): state is FinalState {
  return finals.has(state);
}
