/** Receipts as the ledger applies them: the bus's receipts, with results opened. */
import type { Receipt } from '../bus/bus.ts';
import type { ResultBody } from '../protocol/index.ts';

/** As received, not authenticated. */
export type UnverifiedResult = Extract<Receipt, { kind: 'result' }>;

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

export type LedgerReceipt = Exclude<Receipt, UnverifiedResult> | ReportedEnd;
