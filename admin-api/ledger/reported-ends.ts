/**
 * Results as devices sealed them, opened for the ledger: none counts whose MAC only the device could have
 * made is not good. What is refused is counted and shown, with the worker that brought it, and never
 * settled.
 */
import type { Receipt } from '../../bus/bus.ts';
import { isCanary } from '../../bus/canary.ts';
import { decodeResultBody, LIMITS } from '../../protocol/index.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import type { LedgerReceipt, ReportedEnd, SealedResult } from '../ledger-receipt.ts';
import type { Store } from '../store/store.ts';
import { cleanReason } from './check-receipts.ts';
import type { ForgedResults } from './forged-results.ts';
import { recordable } from './recordable.ts';

export interface OpenedReceipts {
  receipts: LedgerReceipt[];
  /** Made by the device, and not what a result may be. */
  wrong: { receipt: unknown; why: string }[];
}

export class ReportedEnds {
  readonly #store: Store;
  readonly #secrets: DeviceSecrets;
  readonly #forged: ForgedResults;

  constructor(parts: { store: Store; secrets: DeviceSecrets; forged: ForgedResults }) {
    this.#store = parts.store;
    this.#secrets = parts.secrets;
    this.#forged = parts.forged;
  }

  async open(batch: readonly Receipt[]): Promise<OpenedReceipts> {
    const opened: OpenedReceipts = { receipts: [], wrong: [] };
    const forged: SealedResult[] = [];
    const generations = batch.some(({ kind }) => kind === 'result')
      ? await this.#store.devices.generations()
      : null;
    for (const receipt of batch) {
      if (receipt.kind !== 'result') {
        opened.receipts.push(receipt);
        continue;
      }
      // A canary is no device of the ledger: what it says ends nothing (see health/canaries.ts).
      if (!isCanary(receipt.device) && !this.#secrets.made(receipt, generations?.get(receipt.device) ?? 1)) {
        forged.push(receipt);
        continue;
      }
      try {
        opened.receipts.push(read(receipt));
      } catch (error) {
        opened.wrong.push({ receipt, why: error instanceof Error ? error.message : String(error) });
      }
    }
    await this.#forged.refuse(forged);
    return opened;
  }
}

function read({ device, command, body, at }: SealedResult): ReportedEnd {
  const { state, reason, data } = decodeResultBody(body);
  return {
    kind: 'result',
    device,
    command,
    state,
    ...(reason !== undefined && { reason: cleanReason(reason) }),
    ...(data !== undefined && { data: recordable(data, LIMITS.depth) }),
    at,
  };
}
