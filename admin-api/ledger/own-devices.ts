/**
 * A gateway speaks for devices while they are with it. What it says of others is refused: that they came,
 * where it does not serve their group, and what they did. A result speaks for itself.
 */
import type { Bus, Receipt } from '../../bus/bus.ts';
import { isCanary } from '../../bus/canary.ts';
import { isIncarnationOf } from '../../bus/credentials.ts';
import { serves } from '../balance/fleet.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { DevicePlace, Store } from '../store/store.ts';

/** Sessions count microseconds of Redis' clock. One further ahead would stay the newest for good. */
const SESSION_AHEAD_MS = 3_600_000;

type Kind = 'connected' | 'disconnected' | 'status' | 'ack' | 'progress' | 'want';
type Speaking = Extract<Receipt, { kind: Kind }> & { from: string };

export interface OwnReceipts {
  receipts: Receipt[];
  wrong: { receipt: unknown; why: string }[];
}

export interface OwnDevicesParts {
  store: Pick<Store, 'devices' | 'gateways'>;
  bus: Pick<Bus, 'presence'>;
  metrics: AdminMetrics;
  now: () => number;
}

export class OwnDevices {
  readonly #parts: OwnDevicesParts;

  constructor(parts: OwnDevicesParts) {
    this.#parts = parts;
  }

  /** Rejects with `BusUnavailable` or `StoreUnavailable`. */
  async sift(batch: readonly Receipt[]): Promise<OwnReceipts> {
    const speaking = batch.filter(isSpeaking);
    if (speaking.length === 0) return { receipts: [...batch], wrong: [] };
    const refused = await this.#refused(speaking);
    const own: OwnReceipts = { receipts: [], wrong: [] };
    for (const receipt of batch) {
      const why = refused.get(receipt);
      if (why === undefined) own.receipts.push(receipt);
      else if (why === null) this.#parts.metrics.receiptsLate.inc();
      else own.wrong.push({ receipt, why });
    }
    return own;
  }

  /** Why each is refused; `null`: it comes late, from where the device was. */
  async #refused(speaking: readonly Speaking[]): Promise<Map<Receipt, string | null>> {
    const { store } = this.#parts;
    const rows = await store.devices.places([...new Set(speaking.map(({ device }) => device))]);
    const places = new Map(rows.map((row) => [row.id, row]));
    const groups = new Map((await store.gateways.all()).map(({ name, groupId }) => [name, groupId]));
    /** Devices that came to a gateway in this batch. */
    const came = new Map<string, string>();
    const refused = new Map<Receipt, string | null>();
    const elsewhere: Speaking[] = [];
    for (const receipt of speaking) {
      const place = places.get(receipt.device);
      // Of a device that does not exist there is nothing to say.
      if (!place) continue;
      const why = this.#whyNot(receipt, place, groups.get(receipt.from));
      if (why !== null) refused.set(receipt, why);
      else if (receipt.kind === 'connected') came.set(receipt.device, receipt.from);
      else if (place.gateway !== receipt.from && came.get(receipt.device) !== receipt.from) {
        elsewhere.push(receipt);
      }
    }
    const here = await this.#present(elsewhere);
    for (const receipt of elsewhere) {
      if (here.has(receipt)) continue;
      const { from, device, at } = receipt;
      const left = at < (places.get(device)?.connectedAt ?? 0);
      refused.set(receipt, left ? null : `${device} is not with gateway ${from}, which says so`);
    }
    return refused;
  }

  #whyNot(receipt: Speaking, { groupPath }: DevicePlace, groupId: string | undefined): string | null {
    const { kind, device, from } = receipt;
    if (kind !== 'connected' && kind !== 'disconnected') return null;
    if (receipt.session > (this.#parts.now() + SESSION_AHEAD_MS) * 1_000) {
      return `${device}: gateway ${from} names a session of the future`;
    }
    if (kind === 'disconnected' || (groupId !== undefined && serves({ groupId }, groupPath))) return null;
    return `${device} is in no group that gateway ${from} serves`;
  }

  /**
   * Those whose device is with the gateway by its presence: another server may not have applied yet that it
   * came.
   */
  async #present(receipts: readonly Speaking[]): Promise<Set<Receipt>> {
    if (receipts.length === 0) return new Set();
    const holders = await this.#parts.bus.presence.locate(receipts.map(({ device }) => device));
    return new Set(
      receipts.filter(({ from }, index) => isIncarnationOf(from, holders[index]?.incarnation ?? '')),
    );
  }
}

function isSpeaking(receipt: Receipt): receipt is Speaking {
  switch (receipt.kind) {
    case 'connected':
    case 'disconnected':
    case 'status':
    case 'ack':
    case 'progress':
    case 'want':
      return receipt.from !== undefined && !isCanary(receipt.device);
    default:
      return false;
  }
}
