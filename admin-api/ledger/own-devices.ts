/**
 * The ledger believes a gateway about devices that are connected to it and in a group that it serves. It
 * refuses what a gateway reports about other devices: connects, acknowledgements, progress. Results and
 * statuses need no such check, because the device itself authenticates them (R-8, B-5).
 */
import type { Bus, Receipt } from '../../bus/bus.ts';
import { isCanary } from '../../bus/canary.ts';
import { isIncarnationOf } from '../../bus/credentials.ts';
import { serves } from '../balance/fleet.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { DevicePlace, Store } from '../store/store.ts';

/** Session numbers are microseconds of Redis' clock. One too far ahead would stay the newest for ever. */
const SESSION_AHEAD_MS = 3_600_000;

type Kind = 'connected' | 'disconnected' | 'measured' | 'ack' | 'progress' | 'want';
type Speaking = Extract<Receipt, { kind: Kind }> & { from: string };

export interface OwnReceipts {
  receipts: Receipt[];
  wrong: { receipt: unknown; why: string }[];
}

export interface OwnDevicesParts {
  store: Pick<Store, 'devices' | 'gateways'>;
  bus: Pick<Bus, 'presence' | 'leases'>;
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

  /** Why each receipt is refused; `null`: it comes late, from a gateway where the device was before. */
  async #refused(speaking: readonly Speaking[]): Promise<Map<Receipt, string | null>> {
    const { store } = this.#parts;
    const [rows, gateways] = await Promise.all([
      store.devices.places([...new Set(speaking.map(({ device }) => device))]),
      store.gateways.all(),
    ]);
    const places = new Map(rows.map((row) => [row.id, row]));
    const groups = new Map(gateways.map(({ name, groupId }) => [name, groupId]));
    /** Devices that connected in this batch, and to which gateway. */
    const came = new Map<string, string>();
    const refused = new Map<Receipt, string | null>();
    const elsewhere: Speaking[] = [];
    for (const receipt of speaking) {
      const place = places.get(receipt.device);
      // Nothing follows from a receipt about a device that does not exist.
      if (!place) continue;
      const groupId = groups.get(receipt.from);
      const why = this.#whyNot(receipt, place, groupId);
      if (why !== null) refused.set(receipt, why);
      else if (receipt.kind === 'connected') came.set(receipt.device, receipt.from);
      else if (place.gateway === receipt.from || came.get(receipt.device) === receipt.from) {
        if (!maySpeak(receipt, place, groupId)) refused.set(receipt, null);
      } else if (!endsUnknownSession(receipt, place, groupId)) elsewhere.push(receipt);
    }
    const holders = await this.#holders(elsewhere);
    for (const [index, receipt] of elsewhere.entries()) {
      const { from, device } = receipt;
      const place = places.get(device);
      const holder = holders[index];
      // Another server may still have to apply the connect.
      const isThere = holder?.isAlive && isIncarnationOf(from, holder.incarnation);
      if (isThere && place && maySpeak(receipt, place, groups.get(from))) continue;
      const late = isLate(receipt, place, groups.get(from), holder?.isAlive === true);
      refused.set(receipt, late ? null : `${device} is not with gateway ${from}, which says so`);
    }
    return refused;
  }

  #whyNot(receipt: Speaking, { groupPath }: DevicePlace, groupId: string | undefined): string | null {
    const { kind, device, from } = receipt;
    if (kind !== 'connected' && kind !== 'disconnected') return null;
    if (receipt.session > (this.#parts.now() + SESSION_AHEAD_MS) * 1_000) {
      return `${device}: gateway ${from} names a session of the future`;
    }
    if (kind === 'disconnected' || isServed(groupPath, groupId)) return null;
    return `${device} is in no group that gateway ${from} serves`;
  }

  /**
   * Which incarnation holds each receipt's device according to presence. Anybody can write presence into
   * Redis, but only gateways can write leases, so `isAlive` says whether the incarnation has one.
   */
  async #holders(
    receipts: readonly Speaking[],
  ): Promise<({ incarnation: string; isAlive: boolean } | null)[]> {
    if (receipts.length === 0) return [];
    const { presence, leases } = this.#parts.bus;
    const held = await presence.locate(receipts.map(({ device }) => device));
    if (held.every((holder) => holder === null)) return held.map(() => null);
    const alive = new Set((await leases.list()).map(({ incarnation }) => incarnation));
    return held.map((holder) => holder && { ...holder, isAlive: alive.has(holder.incarnation) });
  }
}

/**
 * Whether the gateway is believed about a device that is connected to it. It may always report the end of the
 * session, even if an operator has moved the gateway to another group meanwhile.
 */
function maySpeak({ kind }: Speaking, { groupPath }: DevicePlace, groupId: string | undefined): boolean {
  return kind === 'disconnected' || isServed(groupPath, groupId);
}

function isServed(groupPath: string, groupId: string | undefined): boolean {
  return groupId !== undefined && serves({ groupId }, groupPath);
}

/** The end of a session overtook its beginning: another server has that receipt, or was killed with it. */
function endsUnknownSession(receipt: Speaking, place: DevicePlace, groupId: string | undefined): boolean {
  if (receipt.kind !== 'disconnected' || receipt.session <= place.session) return false;
  return isServed(place.groupPath, groupId);
}

/** Whether the device was connected to this gateway before, as far as the ledger can tell. */
function isLate(
  receipt: Speaking,
  place: DevicePlace | undefined,
  groupId: string | undefined,
  isHeld: boolean,
): boolean {
  if (place === undefined || receipt.at < (place.connectedAt ?? 0)) return true;
  switch (receipt.kind) {
    case 'disconnected':
      return receipt.session < place.session;
    case 'ack':
    case 'progress':
    case 'measured':
      // The device may have connected there and left again, and neither is applied yet.
      return !isHeld && isServed(place.groupPath, groupId);
    default:
      return false;
  }
}

function isSpeaking(receipt: Receipt): receipt is Speaking {
  switch (receipt.kind) {
    case 'connected':
    case 'disconnected':
    case 'measured':
    case 'ack':
    case 'progress':
    case 'want':
      return receipt.from !== undefined && !isCanary(receipt.device);
    default:
      return false;
  }
}
