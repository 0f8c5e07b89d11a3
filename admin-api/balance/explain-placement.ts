import { CLOSE, LIMITS } from '../../protocol/index.ts';
import { Problem } from '../problems.ts';
import type { Device } from '../store/records.ts';
import { type GatewayState, serves } from './fleet.ts';
import { bandsOfMeasured } from './nearness.ts';
import { type Fleet, type PlacementParts, readFleet, type WeighedGateway } from './placement.ts';

export type PlacementCode =
  | 'nearest'
  | 'displaced'
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
    /** The gateway it is connected to. */
    gateway: string | null;
    /** Position of that gateway in the device's list, from 1; `null` if it is not in the list. */
    rank: number | null;
    /** The gateways the device may use, in its own order. */
    /** `ms`: its distance as the device reported. */
    list: { name: string; weight: number; state: GatewayState; ms: number | null }[];
  };
}

type Reason = Pick<Placement, 'code' | 'sentence'>;
type Placed = Device & { groupPath: string };

/** Why a device is connected where it is. Throws `Problem` not-found. */
export async function explainPlacement(parts: PlacementParts, id: string): Promise<Placement> {
  const [device] = await parts.store.devices.withPaths([id]);
  if (!device) throw new Problem('not-found', `There is no device ${id}.`);
  const fleet = await readFleet(parts);
  const ranked = fleet.ranked(id, device.groupPath).slice(0, LIMITS.gateways);
  const gateway = device.connected ? device.gateway : null;
  const index = ranked.findIndex(({ name }) => name === gateway);
  const ms = new Map(device.measured.map((each) => [each.name, each.ms]));
  const list = ranked.map(({ name, weight, state }) => ({ name, weight, state, ms: ms.get(name) ?? null }));
  const data = { gateway, rank: index < 0 ? null : index + 1, list };
  return { ...reason(device, gateway, index, ranked, fleet), data };
}

function reason(
  device: Placed,
  gateway: string | null,
  index: number,
  ranked: readonly WeighedGateway[],
  fleet: Fleet,
): Reason {
  const inService = ranked.filter(({ draining }) => !draining);
  const [first] = inService;
  if (gateway === null) return whereNext(device, first);
  const here = fleet.gateways.find(({ name }) => name === gateway);
  if (here && !here.serving && (index < 0 || here.draining)) {
    const why = here.draining ? 'is being drained' : 'is switched off or stops';
    return { code: 'leaving', sentence: `Gateway ${gateway} ${why}; the device is about to be sent away.` };
  }
  if (index < 0) {
    return {
      code: 'out-of-scope',
      sentence:
        `Gateway ${gateway} does not serve group ${device.groupId}; the device is about to be sent ` +
        'away.',
    };
  }
  if (inService.length === 1) {
    return { code: 'only', sentence: onlyOne(gateway, device, fleet) };
  }
  const why = byNearness(device, gateway, inService) ?? byRank(device, gateway, inService, '');
  const unlisted = fleet.gateways.filter(
    (each) => serves(each, device.groupPath) && !inService.some(({ name }) => name === each.name),
  );
  return { ...why, sentence: why.sentence + nearerUnlisted(device, gateway, unlisted) };
}

/** The gateways that it measured as nearer and cannot use now. */
function nearerUnlisted(device: Placed, gateway: string, unlisted: readonly WeighedGateway[]): string {
  const own = device.measured.find(({ name }) => name === gateway);
  if (!own) return '';
  const nearer = device.measured.flatMap(({ name, ms }) => {
    const state = unlisted.find((each) => each.name === name)?.state;
    return state && ms < own.ms ? [`${name} ${ms} ms, ${state}`] : [];
  });
  return nearer.length === 0 ? '' : ` Nearer, but not usable now: ${nearer.join('; ')}.`;
}

/** Why it is on this one of the measured gateways; `null` for a device that reported no distances. */
function byNearness(device: Placed, gateway: string, ranked: readonly WeighedGateway[]): Reason | null {
  const listed = device.measured.filter(({ name }) => ranked.some((each) => each.name === name));
  const bands = bandsOfMeasured(listed);
  const own = bands.findIndex((band) => band.includes(gateway));
  const [nearest] = bands;
  if (!nearest) return null;
  const told = (names: readonly string[]) =>
    listed
      .filter(({ name }) => names.includes(name))
      .map(({ name, ms }) => `${name} ${ms} ms`)
      .join(', ');
  if (own === 0) {
    const equals = ranked.filter(({ name }) => nearest.includes(name));
    if (equals.length > 1)
      return byRank(device, gateway, equals, ` of those that are equally near (${told(nearest)})`);
    const others = told(bands.slice(1).flat());
    return {
      code: 'nearest',
      sentence:
        `Gateway ${gateway} is the nearest that this device measured: ` +
        `${told([gateway])}${others && ` (${others})`}.`,
    };
  }
  const nearer = bands.slice(0, own < 0 ? bands.length : own).flat();
  const here = own < 0 ? `gateway ${gateway}, which it did not measure` : `gateway ${told([gateway])}`;
  const away = `The device is on ${here}, although it measured nearer ones (${told(nearer)})`;
  if (wasMoved(device)) {
    return {
      code: 'moved',
      sentence: `${away}: it was sent here at ${cameAt(device)}, because its gateway was over its limit.`,
    };
  }
  const rivals = ranked.filter(({ name }) => nearer.includes(name));
  if (rivals.every((each) => !each.admitting)) {
    return {
      code: 'others-unavailable',
      sentence: `${away}: none of those takes devices (${stated(rivals)}).`,
    };
  }
  const ended =
    device.disconnectedAt === null ? '' : `, after its previous session had ended (${lastEnd(device)})`;
  return {
    code: 'displaced',
    sentence: `${away}: it came at ${cameAt(device)}${ended}. It probes them again and goes back by itself.`,
  };
}

/** Explains by the position in the list alone; `among` says which part of the list counts. */
function byRank(device: Placed, gateway: string, ranked: readonly WeighedGateway[], among: string): Reason {
  const index = ranked.findIndex(({ name }) => name === gateway);
  const place = `${ordinal(index + 1)} of ${ranked.length} in the list of this device${among && `,${among}`}`;
  if (index === 0) return { code: 'first', sentence: `Gateway ${gateway} is ${place}.` };
  if (wasMoved(device)) {
    return {
      code: 'moved',
      sentence:
        `The device was sent to gateway ${gateway} at ${cameAt(device)} to spread the load; it is ` +
        `${place}.`,
    };
  }
  const before = ranked.slice(0, index);
  if (before.every((each) => !each.admitting)) {
    return {
      code: 'others-unavailable',
      sentence: `Gateway ${gateway} is ${place}, and no gateway before it takes devices: ${stated(before)}.`,
    };
  }
  const why = among
    ? 'did not admit it when it came, or came before it in the list only later'
    : 'were slower, did not answer, or were not ahead of it yet when it came; it has not told what it ' +
      'measured';
  return {
    code: 'chosen',
    sentence: `The device chose gateway ${gateway}, ${place}: those before it (${stated(before)}) ${why}.`,
  };
}

function stated(gateways: readonly WeighedGateway[]): string {
  return gateways.map(({ name, state }) => (state === 'up' ? name : `${name} (${state})`)).join(', ');
}

function cameAt({ connectedAt }: Device): string {
  return new Date(connectedAt ?? 0).toISOString();
}

function lastEnd({ closeCode, closeReason }: Device): string {
  if (closeCode === null) return closeReason ?? 'unknown';
  return closeReason ? `${closeCode} ${closeReason}` : `${closeCode}`;
}

function onlyOne(gateway: string, device: Placed, fleet: Fleet): string {
  const others = fleet.gateways
    .filter((each) => each.name !== gateway && serves(each, device.groupPath))
    .map(({ name, state }) => `${name} (${state})`);
  if (others.length === 0) return `Gateway ${gateway} is the only one that serves group ${device.groupId}.`;
  const count = others.length > 3 ? ` and ${others.length - 3} more` : '';
  return (
    `Gateway ${gateway} is the only one in service for group ${device.groupId}; not in service: ` +
    `${others.slice(0, 3).join(', ')}${count}.`
  );
}

function whereNext(device: Device, first: WeighedGateway | undefined): Reason {
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

/** Its session began because the previous gateway sent it away. */
function wasMoved({ closeCode, closeReason, connectedAt, disconnectedAt }: Device): boolean {
  const follows = Math.abs((connectedAt ?? 0) - (disconnectedAt ?? 0)) < 60_000;
  return closeCode === CLOSE.redirected && closeReason === 'balance' && follows;
}

function ordinal(n: number): string {
  const word = ['first', 'second', 'third', 'fourth', 'fifth'][n - 1];
  return word ?? `number ${n}`;
}
