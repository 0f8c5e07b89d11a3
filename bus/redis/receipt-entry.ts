import type { Receipt } from '../bus.ts';
import { isIncarnationOf, isWorkerOf } from '../credentials.ts';
import { decode } from '../encoding.ts';
import type { Seals } from './seals/seals.ts';

/**
 * The receipts of a stream entry, each with the gateway that brought it. `foreign`: another installation's.
 * `malformed`: not in the form that `append` writes. `refused`: no gateway sealed it, or it names another
 * gateway's workers.
 */
export async function readReceipts(
  fields: readonly Buffer[],
  installation: string,
  seals: Seals,
): Promise<Receipt[] | 'foreign' | 'malformed' | 'refused'> {
  const { b: batch, i: theirs, s: sealed } = named(fields);
  const said = theirs?.toString() ?? '';
  if (said !== '' && said !== installation) return 'foreign';
  if (batch === undefined) return 'malformed';
  const seal = seals.checksGateways ? await seals.open('receipts', sealed, [batch]) : null;
  if (seals.checksGateways && seal === null) return 'refused';
  const receipts = decodeBatch(batch);
  if (receipts === null) return 'malformed';
  if (seal === null) return receipts;
  // The consumer that applies the batch checks its contents.
  if (!receipts.every((receipt) => speaksForItself(receipt, seal.gateway))) return 'refused';
  return receipts.map((receipt) => (isObject(receipt) ? { ...receipt, from: seal.gateway } : receipt));
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

/** Whether every gateway, worker and incarnation that it names belongs to this gateway. */
function speaksForItself(receipt: unknown, own: string): boolean {
  // It names nobody: whoever applies the batch puts it aside and applies the rest.
  if (!isObject(receipt)) return true;
  const { gateway, worker, incarnation } = receipt as Record<string, unknown>;
  return (
    (gateway === undefined || gateway === own) &&
    (worker === undefined || (typeof worker === 'string' && isWorkerOf(own, worker))) &&
    (incarnation === undefined || (typeof incarnation === 'string' && isIncarnationOf(own, incarnation)))
  );
}
