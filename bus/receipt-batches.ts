/** Shared by both implementations of receipts: turns appended batches into calls of `apply`. */
import type { Receipt } from './bus.ts';

export type Apply = (batch: readonly Receipt[]) => Promise<void>;

export const CONSUME_DEFAULTS = { maxBatch: 2_000, redeliverAfterMs: 30_000 } as const;

/** How long the end of a consumer waits for the `apply` in progress, milliseconds. */
export const CONSUMER_END_DEADLINE_MS = 5_000;

/** Most bytes applied together. */
const TOGETHER_BYTES = 8 * 1024 * 1024;

/**
 * Takes batches off the front of `waiting`: as many as fit into `maxReceipts` and a few megabytes together,
 * but at least one.
 */
export function takeTogether<T extends { receipts: readonly Receipt[]; bytes: number }>(
  waiting: T[],
  maxReceipts: number,
): T[] {
  let receipts = waiting[0]?.receipts.length ?? 0;
  let bytes = waiting[0]?.bytes ?? 0;
  let count = Math.min(1, waiting.length);
  for (; count < waiting.length; count += 1) {
    receipts += (waiting[count] as T).receipts.length;
    bytes += (waiting[count] as T).bytes;
    if (receipts > maxReceipts || bytes > TOGETHER_BYTES) break;
  }
  return waiting.splice(0, count);
}

/**
 * Calls `apply` with all receipts of `batches`: once, or several times when a single batch exceeds
 * `maxReceipts`.
 */
export async function applyTogether(
  batches: readonly { receipts: readonly Receipt[] }[],
  maxReceipts: number,
  apply: Apply,
): Promise<void> {
  const receipts =
    batches.length === 1 ? (batches[0]?.receipts ?? []) : batches.flatMap((batch) => batch.receipts);
  if (receipts.length <= maxReceipts) return apply(receipts);
  for (let start = 0; start < receipts.length; start += maxReceipts) {
    await apply(receipts.slice(start, start + maxReceipts));
  }
}

/**
 * Pause after the nth rejected `apply` in a row, milliseconds: it prevents a tight loop while the ledger is
 * unavailable.
 */
export function pauseAfterRejections(count: number): number {
  return Math.min(50 * 2 ** Math.min(count, 10), 1_000);
}
