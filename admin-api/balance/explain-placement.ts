import { CLOSE, LIMITS } from '../../protocol/index.ts';
import { Problem } from '../problems.ts';
import type { Device } from '../store/records.ts';
import { type GatewayState, serves } from './fleet.ts';
import { type Fleet, type PlacementParts, readFleet, type WeighedGateway } from './placement.ts';

export type PlacementCode =
  | 'first'
  | 'only'
  | 'moved'
  | 'others-unavailable'
  | 'chosen'
  | 'leaving'
  | 'out-of-scope'
  | 'offline'
  | 'no-gateway'
  | 'blocked';

export interface Placement {
  sentence: string;
  code: PlacementCode;
  data: {
    /** Where it is connected. */
    gateway: string | null;
    /** Place of that gateway in the device's list, from 1; `null` when it is not in it. */
    rank: number | null;
    /** The gateways the device may use, in its own order. */
    list: { name: string; weight: number; state: GatewayState }[];
  };
}

type Placed = Device & { groupPath: string };

/** Why a device is connected where it is. Throws `Problem` not-found. */
export async function explainPlacement(parts: PlacementParts, id: string): Promise<Placement> {
  const [device] = await parts.store.devices.withPaths([id]);
  if (!device) throw new Problem('not-found', `There is no device ${id}.`);
  const fleet = await readFleet(parts);
  const ranked = fleet.ranked(id, device.groupPath).slice(0, LIMITS.gateways);
  const gateway = device.connected ? device.gateway : null;
  const index = ranked.findIndex(({ name }) => name === gateway);
  const list = ranked.map(({ name, weight, state }) => ({ name, weight, state }));
  const data = { gateway, rank: index < 0 ? null : index + 1, list };
  return { ...reason(device, gateway, index, ranked, fleet), data };
}

function reason(
  device: Placed,
  gateway: string | null,
  index: number,
  ranked: readonly WeighedGateway[],
  fleet: Fleet,
): { code: PlacementCode; sentence: string } {
  const [first] = ranked;
  if (gateway === null) return whereNext(device, first);
  const here = fleet.gateways.find(({ name }) => name === gateway);
  if (index < 0) {
    if (here && !here.serving) {
      const why = here.drainingSince === null ? 'is switched off or stops' : 'is being drained';
      return { code: 'leaving', sentence: `Gateway ${gateway} ${why}; the device is about to be sent away.` };
    }
    return {
      code: 'out-of-scope',
      sentence: `Gateway ${gateway} does not serve group ${device.groupId}; the device is about to be sent away.`,
    };
  }
  if (ranked.length === 1) {
    return { code: 'only', sentence: onlyOne(gateway, device, fleet) };
  }
  const place = `${ordinal(index + 1)} of ${ranked.length} in the list of this device`;
  if (index === 0) return { code: 'first', sentence: `Gateway ${gateway} is ${place}.` };
  if (wasMoved(device)) {
    const at = new Date(device.connectedAt ?? 0).toISOString();
    return {
      code: 'moved',
      sentence: `The device was sent to gateway ${gateway} at ${at} to spread the load; it is ${place}.`,
    };
  }
  const before = ranked.slice(0, index);
  const names = before.map(({ name, state }) => (state === 'up' ? name : `${name} (${state})`)).join(', ');
  if (before.every((each) => !each.admitting)) {
    return {
      code: 'others-unavailable',
      sentence: `Gateway ${gateway} is ${place}, and none of those before it takes devices: ${names}.`,
    };
  }
  return {
    code: 'chosen',
    sentence: `The device chose gateway ${gateway}, ${place}: when it connected, those before it (${names}) were slower, did not answer, or were not ahead of it yet.`,
  };
}

function onlyOne(gateway: string, device: Placed, fleet: Fleet): string {
  const others = fleet.gateways
    .filter((each) => each.name !== gateway && serves(each, device.groupPath))
    .map(({ name, state }) => `${name} (${state})`);
  if (others.length === 0) return `Gateway ${gateway} is the only one that serves group ${device.groupId}.`;
  const count = others.length > 3 ? ` and ${others.length - 3} more` : '';
  return `Gateway ${gateway} is the only one in service for group ${device.groupId}; not in service: ${others.slice(0, 3).join(', ')}${count}.`;
}

function whereNext(
  device: Device,
  first: WeighedGateway | undefined,
): { code: PlacementCode; sentence: string } {
  if (device.blockedAt !== null) {
    return { code: 'blocked', sentence: 'The device is blocked; no gateway admits it.' };
  }
  if (!first) {
    return {
      code: 'no-gateway',
      sentence: `The device is not connected, and no gateway serves group ${device.groupId}.`,
    };
  }
  return {
    code: 'offline',
    sentence: `The device is not connected; first in its list is gateway ${first.name} (${first.state}).`,
  };
}

/** Its session began because the one before was told to go elsewhere. */
function wasMoved({ closeCode, closeReason, connectedAt, disconnectedAt }: Device): boolean {
  const follows = Math.abs((connectedAt ?? 0) - (disconnectedAt ?? 0)) < 60_000;
  return closeCode === CLOSE.redirected && closeReason === 'balance' && follows;
}

function ordinal(n: number): string {
  const word = ['first', 'second', 'third', 'fourth', 'fifth'][n - 1];
  return word ?? `number ${n}`;
}
