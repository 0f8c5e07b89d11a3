/** Receipts as the ledger applies them: the bus's receipts, with results and statuses opened. */
import type { Receipt } from '../bus/bus.ts';
import type { ResultBody, StatusBody } from '../protocol/index.ts';

/** As received, not authenticated. */
export type UnverifiedResult = Extract<Receipt, { kind: 'result' }>;
/** As received, not authenticated. */
export type UnverifiedStatus = Extract<Receipt, { kind: 'status' }>;

/** A verified and decoded result of its device; a canary's is not authenticated. */
export interface ReportedEnd extends ResultBody {
  kind: 'result';
  device: string;
  command: string;
  /**
   * The rest of a sealed result, encrypted for the store; in that case there is no reason and no data.
   */
  secret?: string;
  /** The worker that brought it. */
  worker: string;
  at: number;
}

/** A verified and decoded status of its device. */
export interface ReportedStatus extends StatusBody {
  kind: 'status';
  device: string;
  at: number;
}

export type LedgerReceipt =
  | Exclude<Receipt, UnverifiedResult | UnverifiedStatus>
  | ReportedEnd
  | ReportedStatus;
