/**
 * Verifies and opens results and statuses for the ledger. One counts only with a valid MAC, which only the
 * device could have made (R-8, B-5). Refused ones are counted, shown with the worker that brought them, and
 * never settled.
 */
import type { Receipt } from '../../bus/bus.ts';
import { isCanary } from '../../bus/canary.ts';
import {
  decodeResultBody,
  decodeStatusBody,
  decodeTravelledBody,
  type Encrypted,
  LIMITS,
  type ResultBody,
  sealedResultBytes,
} from '../../protocol/index.ts';
import { decrypt } from '../at-rest/aes-gcm.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import type {
  LedgerReceipt,
  ReportedEnd,
  ReportedStatus,
  UnverifiedResult,
  UnverifiedStatus,
} from '../ledger-receipt.ts';
import type { LedgerSecrets } from '../secrets/ledger-secrets.ts';
import type { SecretGenerations, Store } from '../store/store.ts';
import { cleanReason, cleanText } from './check-receipts.ts';
import type { ForgedReports } from './forged-reports.ts';
import { KnownBodies } from './known-bodies.ts';
import { recordable } from './recordable.ts';

export interface OpenedReceipts {
  receipts: LedgerReceipt[];
  /** Made by their device, but not valid results or statuses. */
  wrong: { receipt: unknown; why: string }[];
}

const FIRST: SecretGenerations = { generation: 1, offered: 1 };
/** For this long after a device changed its key, its previous secret does not point to a forger, ms. */
const OVERTAKEN_MS = 600_000;
/** A result may be sealed with this many earlier secrets: as many as a device can get in an hour. */
const EARLIER_SECRETS = 4;

type UnverifiedReport = UnverifiedResult | UnverifiedStatus;

export class ReportVerifier {
  readonly #now: () => number;
  readonly #store: Store;
  readonly #secrets: DeviceSecrets;
  readonly #ledgerSecrets: LedgerSecrets;
  readonly #forged: ForgedReports;
  readonly #bodies = new KnownBodies();

  constructor(parts: {
    store: Store;
    secrets: DeviceSecrets;
    ledgerSecrets: LedgerSecrets;
    forged: ForgedReports;
    now: () => number;
  }) {
    this.#now = parts.now;
    this.#store = parts.store;
    this.#secrets = parts.secrets;
    this.#ledgerSecrets = parts.ledgerSecrets;
    this.#forged = parts.forged;
  }

  async open(batch: readonly Receipt[]): Promise<OpenedReceipts> {
    const opened: OpenedReceipts = { receipts: [], wrong: [] };
    const forged: UnverifiedReport[] = [];
    const reports = batch.filter(isUnverified);
    const generations = await this.#store.devices.generations(reports.map(({ device }) => device));
    const taken = new Map<string, number>();
    for (const receipt of batch) {
      if (!isUnverified(receipt)) {
        opened.receipts.push(receipt);
        continue;
      }
      const generation = this.#generationOf(receipt, generations.get(receipt.device));
      if (generation === null) {
        if (!(await this.#isOfFormerSecret(receipt, generations.get(receipt.device)))) forged.push(receipt);
        continue;
      }
      if (generation > (generations.get(receipt.device)?.generation ?? 1))
        taken.set(receipt.device, generation);
      try {
        opened.receipts.push(
          receipt.kind === 'status' ? readStatus(receipt) : this.#read(receipt, generation),
        );
      } catch (error) {
        opened.wrong.push({ receipt, why: error instanceof Error ? error.message : String(error) });
      }
    }
    if (taken.size > 0)
      await this.#store.devices.takeSecrets([...taken].map(([id, generation]) => ({ id, generation })));
    await this.#forged.refuse(forged);
    return opened;
  }

  /** The generation of the device's secret that made the MAC; `null`: none did. */
  #generationOf(receipt: UnverifiedReport, { generation, offered } = FIRST): number | null {
    // A canary is no device of the ledger: its results end nothing (see health/canaries.ts).
    if (isCanary(receipt.device) || this.#secrets.made(receipt, generation)) return generation;
    return offered > generation && this.#secrets.made(receipt, offered) ? offered : null;
  }

  /** Whether the device sent it just before it began to use its next secret: it repeats the result. */
  async #isOfFormerSecret(receipt: UnverifiedReport, { generation } = FIRST): Promise<boolean> {
    if (generation === 1 || !this.#secrets.made(receipt, generation - 1)) return false;
    const rotated = await this.#store.refusedKeys.rotations(receipt.device, this.#now() - OVERTAKEN_MS);
    return rotated.length > 0;
  }

  #read(receipt: UnverifiedResult, generation: number): ReportedEnd {
    const known = this.#bodies.find(receipt.body);
    if (known) return endOf(receipt, known);
    const travelled = decodeTravelledBody(receipt.body);
    if ('ct' in travelled) return this.#readSecret(receipt, travelled, generation);
    const body = { state: travelled.state, ...toldOf(travelled) };
    this.#bodies.keep(receipt.body, body);
    return endOf(receipt, body);
  }

  /** Encrypts the outcome again for the store: even if the receipt is put aside, nobody can read it. */
  #readSecret(receipt: UnverifiedResult, sealed: Encrypted, generation: number): ReportedEnd {
    const { device, command } = receipt;
    const body = decodeResultBody(this.#opened(sealed, { device, command, generation }));
    const told = toldOf(body);
    const secret = Object.keys(told).length > 0 && {
      secret: this.#ledgerSecrets.sealOutcome(command, device, told),
    };
    return { ...endOf(receipt, { state: body.state }), ...secret };
  }

  /** A device seals a result at once, but authenticates it when it sends it, perhaps with a newer secret. */
  #opened(
    sealed: Encrypted,
    { device, command, generation }: { device: string; command: string; generation: number },
  ): Uint8Array {
    const about = sealedResultBytes(device, command);
    for (let earlier = generation; ; earlier--) {
      try {
        return decrypt(this.#secrets.secretKey(device, earlier), sealed, about);
      } catch (error) {
        if (earlier <= Math.max(1, generation - EARLIER_SECRETS)) throw error;
      }
    }
  }
}

function isUnverified(receipt: Receipt): receipt is UnverifiedReport {
  return receipt.kind === 'result' || receipt.kind === 'status';
}

function readStatus({ device, body, at }: UnverifiedStatus): ReportedStatus {
  const { policy, ...status } = decodeStatusBody(body);
  return {
    kind: 'status',
    device,
    ...status,
    ...(policy !== undefined && { policy: cleanText(policy) }),
    at,
  };
}

/** Shares `data` with the body. */
function endOf(
  { device, command, worker, at }: UnverifiedResult,
  { state, reason, data }: ResultBody,
): ReportedEnd {
  const end: ReportedEnd = { kind: 'result', device, command, state, worker, at };
  if (reason !== undefined) end.reason = reason;
  if (data !== undefined) end.data = data;
  return end;
}

function toldOf({ reason, data }: ResultBody): Pick<ResultBody, 'reason' | 'data'> {
  return {
    ...(reason !== undefined && { reason: cleanReason(reason) }),
    ...(data !== undefined && { data: recordable(data, LIMITS.depth) }),
  };
}
