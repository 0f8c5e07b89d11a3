/** Receipts as the ledger applies them: those of the bus, with results opened. */
import type { Receipt } from '../bus/bus.ts';
import type { ResultBody } from '../protocol/index.ts';

/** As it came, not authenticated. */
export type SealedResult = Extract<Receipt, { kind: 'result' }>;

/** A result that its device made, read; a canary's is not authenticated. */
export interface ReportedEnd extends ResultBody {
  kind: 'result';
  device: string;
  command: string;
  /** What else a sealed result says, encrypted for the store; then there is no reason and no data. */
  secret?: string;
  at: number;
}

export type LedgerReceipt = Exclude<Receipt, SealedResult> | ReportedEnd;
