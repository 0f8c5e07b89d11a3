/**
 * Results as devices sealed them, opened for the ledger: none counts whose MAC only the device could have
 * made is not good. What is refused is counted and shown, with the worker that brought it, and never
 * settled.
 */
import type { Receipt } from '../../bus/bus.ts';
import { isCanary } from '../../bus/canary.ts';
import {
  decodeResultBody,
  decodeTravelledBody,
  type Encrypted,
  LIMITS,
  type ResultBody,
  sealedResultBytes,
} from '../../protocol/index.ts';
import { decrypt } from '../at-rest/aes-gcm.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import type { LedgerReceipt, ReportedEnd, SealedResult } from '../ledger-receipt.ts';
import type { LedgerSecrets } from '../secrets/ledger-secrets.ts';
import type { Store } from '../store/store.ts';
import { cleanReason } from './check-receipts.ts';
import type { ForgedResults } from './forged-results.ts';
import { recordable } from './recordable.ts';

export interface OpenedReceipts {
  receipts: LedgerReceipt[];
  /** Made by the device, and not what a result may be. */
  wrong: { receipt: unknown; why: string }[];
}

export class ResultVerifier {
  readonly #store: Store;
  readonly #secrets: DeviceSecrets;
  readonly #ledgerSecrets: LedgerSecrets;
  readonly #forged: ForgedResults;

  constructor(parts: {
    store: Store;
    secrets: DeviceSecrets;
    ledgerSecrets: LedgerSecrets;
    forged: ForgedResults;
  }) {
    this.#store = parts.store;
    this.#secrets = parts.secrets;
    this.#ledgerSecrets = parts.ledgerSecrets;
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
      const generation = generations?.get(receipt.device) ?? 1;
      // A canary is no device of the ledger: what it says ends nothing (see health/canaries.ts).
      if (!isCanary(receipt.device) && !this.#secrets.made(receipt, generation)) {
        forged.push(receipt);
        continue;
      }
      try {
        opened.receipts.push(this.#read(receipt, generation));
      } catch (error) {
        opened.wrong.push({ receipt, why: error instanceof Error ? error.message : String(error) });
      }
    }
    await this.#forged.refuse(forged);
    return opened;
  }

  #read(receipt: SealedResult, generation: number): ReportedEnd {
    const travelled = decodeTravelledBody(receipt.body);
    return 'ct' in travelled
      ? this.#readSecret(receipt, travelled, generation)
      : { ...endOf(receipt, travelled.state), ...toldOf(travelled) };
  }

  /** From here on nothing of it can be read, be it put aside, split or repeated. */
  #readSecret(receipt: SealedResult, sealed: Encrypted, generation: number): ReportedEnd {
    const { device, command } = receipt;
    const key = this.#secrets.secretKey(device, generation);
    const body = decodeResultBody(decrypt(key, sealed, sealedResultBytes(device, command)));
    const told = toldOf(body);
    const secret = Object.keys(told).length > 0 && {
      secret: this.#ledgerSecrets.sealOutcome(command, device, told),
    };
    return { ...endOf(receipt, body.state), ...secret };
  }
}

function endOf({ device, command, at }: SealedResult, state: ResultBody['state']): ReportedEnd {
  return { kind: 'result', device, command, state, at };
}

function toldOf({ reason, data }: ResultBody): Pick<ResultBody, 'reason' | 'data'> {
  return {
    ...(reason !== undefined && { reason: cleanReason(reason) }),
    ...(data !== undefined && { data: recordable(data, LIMITS.depth) }),
  };
}
