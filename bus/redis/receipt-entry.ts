import type { Receipt } from '../bus.ts';
import { isIncarnationOf, isWorkerOf } from '../credentials.ts';
import { decode } from '../encoding.ts';
import type { Authenticator, MacFault } from './macs/authenticator.ts';

/** An entry of the stream. */
export interface ReceiptEntry {
  /** When Redis took it, as far as that is known, milliseconds since the Unix epoch. */
  takenAt: number;
  fields: readonly Buffer[];
}

/**
 * The receipts of a stream entry, each with the gateway that brought it. `foreign`: another installation's.
 * `malformed`: not in the form that `append` writes. `forged`: no gateway authenticated it, or it names
 * another gateway's workers. A certificate vouches for what Redis took while it was valid, however late it is
 * read.
 */
export async function readReceipts(
  { takenAt, fields }: ReceiptEntry,
  installation: string,
  authenticator: Authenticator,
): Promise<Receipt[] | 'foreign' | 'malformed' | MacFault> {
  const { b: batch, i: theirs, s: mac } = named(fields);
  const said = theirs?.toString() ?? '';
  if (said !== '' && said !== installation) return 'foreign';
  if (batch === undefined) return 'malformed';
  const entry = authenticator.checksGateways
    ? await authenticator.verify('receipts', mac, [batch], takenAt)
    : null;
  if (typeof entry === 'string') return entry;
  const receipts = decodeBatch(batch);
  if (receipts === null) return 'malformed';
  if (entry === null) return receipts;
  // The consumer that applies the batch checks its contents.
  if (!speakForThemselves(receipts, entry.gateway)) return 'forged';
  for (const receipt of receipts) if (isObject(receipt)) receipt.from = entry.gateway;
  return receipts;
}

function named(fields: readonly Buffer[]): Partial<Record<string, Buffer>> {
  const found: Record<string, Buffer> = {};
  for (let at = 0; at + 1 < fields.length; at += 2) {
    found[(fields[at] as Buffer).toString()] = fields[at + 1] as Buffer;
  }
  return found;
}

function decodeBatch(batch: Buffer): Receipt[] | null {
  try {
    const receipts = decode<Receipt[]>(batch);
    return Array.isArray(receipts) ? receipts : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** Whether every gateway, worker and incarnation that they name belongs to this gateway. */
function speakForThemselves(receipts: readonly unknown[], own: string): boolean {
  // Many in a row name the same worker.
  let known: string | undefined;
  for (const receipt of receipts) {
    // It names nobody: whoever applies the batch puts it aside and applies the rest.
    if (!isObject(receipt)) continue;
    const { gateway, worker, incarnation } = receipt as Record<string, unknown>;
    if (gateway !== undefined && gateway !== own) return false;
    if (worker !== undefined && worker !== known) {
      if (typeof worker !== 'string' || !isWorkerOf(own, worker)) return false;
      known = worker;
    }
    if (incarnation === undefined) continue;
    if (typeof incarnation !== 'string' || !isIncarnationOf(own, incarnation)) return false;
  }
  return true;
}
