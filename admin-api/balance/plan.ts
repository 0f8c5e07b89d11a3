/**
 * Plans how many devices should move between which gateways, so that connections are spread in proportion to
 * the gateways' limits. Pure: `balancer.ts` decides which devices, and when.
 *
 * Devices form classes: those with the same gateways to choose from (the nearest ones, if they measured).
 * Within a class, a gateway's target is its share of the limits. A class is left alone until a share is off
 * by more than 8 %, and is then brought within 4 %. Devices move only from above a target to below one, and
 * only while that brings both closer to their targets. So no move undoes an earlier one.
 *
 * From a gateway above its limit, devices without room in their class go to any gateway of their scope that
 * has room.
 */
import { sum } from './fleet.ts';

export interface BalanceGateway {
  /** Its connection limit: the weight of its share. */
  limit: number;
  /** Connections it can accept now. */
  capacity: number;
  /** Devices on it, including those on their way to it. */
  connections: number;
  /** Whether it admits new devices; one that does not can still be too full. */
  admitting: boolean;
  /** Devices certainly on it above its capacity. */
  surplus: number;
}

/** Classes with one gateway are included: they cannot be moved, but they take room. */
export interface BalanceClass {
  /** Identifies the class from one check to the next. */
  key: string;
  /** Devices of the class by gateway, including usable gateways without any. */
  devices: ReadonlyMap<string, number>;
  /** Every usable gateway that serves these devices, near or not. */
  scope: readonly string[];
}

/** Devices of a class above a gateway's limit; the destination is chosen for each device. */
export interface PlannedRelief {
  class: string;
  from: string;
  count: number;
}

export interface PlannedMove {
  class: string;
  from: string;
  to: string;
  count: number;
}

export interface Plan {
  moves: PlannedMove[];
  reliefs: PlannedRelief[];
  /** Room after the moves, by gateway. */
  room: Map<string, number>;
  /** Keys of the classes that are out of balance, or were and have not been restored yet. */
  unbalanced: Set<string>;
  /**
   * The largest deviation from a target, as a share of the target; excludes classes too small to be balanced.
   */
  deviation: number;
}

const START = 0.08;
/** Fewer are not worth moving. */
const START_DEVICES = 3;
const STOP = 0.04;
/** Share of a gateway's capacity that balancing fills; the rest is for devices that come by themselves. */
const FILL = 0.95;

/**
 * `active`: keys of classes that were out of balance at the previous check; only these are moved, so that a
 * passing imbalance (devices that have just connected) moves nobody. `budget`: most devices to move.
 */
export function planMoves(
  gateways: ReadonlyMap<string, BalanceGateway>,
  classes: readonly BalanceClass[],
  active: ReadonlySet<string>,
  budget: number,
): Plan {
  const targets = targetsOf(gateways, classes);
  const inbound = new Map<string, number>();
  const unbalanced = new Set<string>();
  const moves: PlannedMove[] = [];
  let deviation = 0;
  let left = budget;
  for (const each of classes) {
    const target = targets.get(each.key) as Map<string, number>;
    const before = [...each.devices].map(([name, count]) => off(count, target.get(name)));
    const starts = before.some(({ devices, share }) => devices >= START_DEVICES && share > START);
    for (const { devices, share } of before) {
      if (devices >= START_DEVICES) deviation = Math.max(deviation, share);
    }
    const known = active.has(each.key);
    const stays = known && before.some(({ devices, share }) => devices > 1 && share > STOP);
    if (!starts && !stays) continue;
    unbalanced.add(each.key);
    if (!known) continue;
    const planned = movesWithin(each, target, gateways, inbound, left);
    left -= sum(planned, (move) => move.count);
    moves.push(...planned);
  }
  const room = new Map(
    [...gateways].map(([name, gateway]) => [name, roomOf(gateway, inbound.get(name) ?? 0)] as const),
  );
  return { moves, reliefs: reliefsOf(gateways, classes, moves, room, left), room, unbalanced, deviation };
}

function roomOf(gateway: BalanceGateway | undefined, inbound: number): number {
  if (!gateway?.admitting) return 0;
  return Math.max(0, Math.floor(gateway.capacity * FILL - gateway.connections - inbound));
}

/** Devices without a near gateway that has room: the largest classes first, as many as fit. */
function reliefsOf(
  gateways: ReadonlyMap<string, BalanceGateway>,
  classes: readonly BalanceClass[],
  moves: readonly PlannedMove[],
  room: ReadonlyMap<string, number>,
  budget: number,
): PlannedRelief[] {
  const reliefs: PlannedRelief[] = [];
  let left = budget;
  for (const [from, { surplus }] of gateways) {
    const leaving = sum(
      moves.filter((move) => move.from === from),
      (move) => move.count,
    );
    let over = surplus - leaving;
    const here = classes
      .filter(({ devices, scope }) => (devices.get(from) ?? 0) > 0 && scope.length > devices.size)
      .filter(
        ({ devices }) => ![...devices.keys()].some((name) => name !== from && (room.get(name) ?? 0) >= 1),
      )
      .sort((a, b) => (b.devices.get(from) ?? 0) - (a.devices.get(from) ?? 0));
    for (const { key, devices, scope } of here) {
      const free = sum(scope, (name) => room.get(name) ?? 0);
      const count = Math.min(over, left, devices.get(from) ?? 0, free);
      if (count < 1) continue;
      reliefs.push({ class: key, from, count });
      over -= count;
      left -= count;
    }
  }
  return reliefs;
}

function off(count: number, target = 0): { devices: number; share: number } {
  const devices = Math.abs(count - target);
  return { devices, share: target > 0 ? devices / target : devices > 0 ? 1 : 0 };
}

/** Moves one device at a time from the gateway furthest above its target to the one furthest below. */
function movesWithin(
  each: BalanceClass,
  target: ReadonlyMap<string, number>,
  gateways: ReadonlyMap<string, BalanceGateway>,
  inbound: Map<string, number>,
  budget: number,
): PlannedMove[] {
  const counts = new Map(each.devices);
  const moves = new Map<string, PlannedMove>();
  const above = (name: string) => (counts.get(name) ?? 0) - (target.get(name) ?? 0);
  const excess = (name: string) => {
    const devices = above(name);
    // Fractions of a device come after whole devices, however small the gateway's share is.
    return Math.abs(devices) < 1 ? devices * 1e-6 : devices / Math.max(target.get(name) ?? 0, 1);
  };
  const room = (name: string) => roomOf(gateways.get(name), inbound.get(name) ?? 0);
  const names = [...counts.keys()];
  for (let left = budget; left > 0; left--) {
    const from = best(names, excess);
    const to = best(
      names.filter((name) => room(name) >= 1),
      (name) => -excess(name),
    );
    if (from === undefined || to === undefined) break;
    // Otherwise both would end up as far from their targets as before, on the other side.
    if (above(from) <= 0 || above(to) >= 0 || above(from) - above(to) <= 1) break;
    if (excess(from) <= STOP && excess(to) >= -STOP) break;
    counts.set(from, (counts.get(from) ?? 0) - 1);
    counts.set(to, (counts.get(to) ?? 0) + 1);
    inbound.set(to, (inbound.get(to) ?? 0) + 1);
    const key = `${from} ${to}`;
    const move = moves.get(key) ?? { class: each.key, from, to, count: 0 };
    move.count += 1;
    moves.set(key, move);
  }
  return [...moves.values()];
}

function best(names: readonly string[], value: (name: string) => number): string | undefined {
  let found: string | undefined;
  for (const name of names) if (found === undefined || value(name) > value(found)) found = name;
  return found;
}

/**
 * Targets by class and gateway. Classes with few gateways come first: what they need of a gateway is not
 * available to classes that can go elsewhere.
 */
function targetsOf(
  gateways: ReadonlyMap<string, BalanceGateway>,
  classes: readonly BalanceClass[],
): Map<string, Map<string, number>> {
  const taken = new Map<string, number>();
  const targets = new Map<string, Map<string, number>>();
  const ordered = [...classes].sort((a, b) => a.devices.size - b.devices.size || (a.key < b.key ? -1 : 1));
  for (const { key, devices } of ordered) {
    const room = new Map<string, number>();
    for (const name of devices.keys()) {
      const capacity = (gateways.get(name)?.capacity ?? 0) * FILL;
      room.set(name, Math.max(0, capacity - (taken.get(name) ?? 0)));
    }
    const shares = shareOut(
      sum([...devices.values()], (count) => count),
      room,
      (name) => gateways.get(name)?.limit ?? 0,
    );
    for (const [name, share] of shares) taken.set(name, (taken.get(name) ?? 0) + share);
    targets.set(key, shares);
  }
  return targets;
}

/** Shares of `total` by weight, none larger than its room; the rest is shared among the others. */
function shareOut(
  total: number,
  room: ReadonlyMap<string, number>,
  weight: (name: string) => number,
): Map<string, number> {
  const shares = new Map<string, number>();
  let open = [...room.keys()];
  let rest = total;
  while (open.length > 0) {
    const weights = sum(open, weight);
    const shareOf = (name: string) => (weights > 0 ? (rest * weight(name)) / weights : rest / open.length);
    const filled = open.filter((name) => shareOf(name) > (room.get(name) ?? 0));
    // Nothing overflows, or everything does: in that case all are full and nobody can be moved anyway.
    if (filled.length === 0 || filled.length === open.length) {
      for (const name of open) shares.set(name, shareOf(name));
      break;
    }
    for (const name of filled) shares.set(name, room.get(name) ?? 0);
    rest -= sum(filled, (name) => room.get(name) ?? 0);
    open = open.filter((name) => !filled.includes(name));
  }
  return shares;
}
