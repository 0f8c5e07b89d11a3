import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import type { EventHub } from '../event-hub.ts';
import type { AdminMetrics } from '../metrics.ts';
import { classesOf, type DeviceClass, type Placed } from './classes.ts';
import { serves, sum } from './fleet.ts';
import { MoveMemory } from './move-memory.ts';
import { Mover, type MoverParts } from './mover.ts';
import { type Fleet, type PlacementParts, readFleet } from './placement.ts';
import { type BalanceGateway, planMoves } from './plan.ts';
import { isRehearsal } from './rehearsals.ts';

const LEASE = 'balancer';
const LEASE_MS = 15_000;
const RENEW_MS = 5_000;
/** Interval between two checks while devices are moved, and otherwise. */
const BUSY_MS = 1000;
const IDLE_MS = 3000;
/**
 * Share of the time that checks may take: counting very many devices keeps SQLite, and so the process, busy.
 */
const BUSY_SHARE = 0.1;
const IDLE_SHARE = 0.02;
/** Devices outside their scope that one check sends away. */
const STRAYS = 100;

export interface BalancerOptions {
  /** Most devices moved per second to spread the load; 0 moves none. */
  movesPerSecond: number;
  /** How long a moved device stays; 10 minutes when absent. */
  dwellMs?: number;
}

export interface BalancerParts extends PlacementParts, Omit<MoverParts, 'memory'> {
  hub: EventHub;
  metrics: AdminMetrics;
  log: Logger;
}

/**
 * Balances devices over gateways: moves devices when they are spread too unevenly, sends away those on a
 * gateway outside their scope, and records when a drained gateway is empty. One administration server does
 * this at a time.
 */
export class Balancer {
  readonly #parts: BalancerParts;
  readonly #options: BalancerOptions;
  readonly #owner = nanoid();
  readonly #memory: MoveMemory;
  readonly #mover: Mover;
  #heldUntil = Number.NEGATIVE_INFINITY;
  #unbalanced = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(parts: BalancerParts, options: BalancerOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#memory = new MoveMemory(options.dwellMs ?? 600_000);
    this.#mover = new Mover({ ...parts, memory: this.#memory });
  }

  start(): void {
    this.#timer = setTimeout(() => this.#look(), BUSY_MS);
  }

  /** Hands the work over to another administration server. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    await this.#work;
    if (this.#heldUntil === Number.NEGATIVE_INFINITY) return;
    const { store, now } = this.#parts;
    await store.meta.hold(LEASE, this.#owner, 0, now());
  }

  #look(): void {
    const startedAt = performance.now();
    this.#work = this.#balance()
      .catch((error) => {
        this.#parts.log.warn({ err: error }, 'balancing was interrupted; trying again');
        return IDLE_MS;
      })
      .then((pauseMs) => {
        if (this.#stopping) return;
        const took = performance.now() - startedAt;
        const share = pauseMs === BUSY_MS ? BUSY_SHARE : IDLE_SHARE;
        this.#timer = setTimeout(() => this.#look(), Math.max(pauseMs, took / share));
      });
  }

  /** One check; returns the milliseconds until the next one. */
  async #balance(): Promise<number> {
    const fleet = await readFleet(this.#parts);
    const draining = fleet.gateways.some((gateway) => gateway.drainingSince !== null);
    if ((fleet.gateways.length < 2 && !draining) || !(await this.#holds())) {
      this.#unbalanced.clear();
      this.#parts.metrics.balanceDeviation.set(0);
      return IDLE_MS;
    }
    await this.#noteDrained(fleet);
    const placed = await this.#placed();
    await this.#sendStraysAway(fleet, placed);
    if (this.#options.movesPerSecond > 0) await this.#spread(fleet, placed);
    return this.#unbalanced.size > 0 || draining ? BUSY_MS : IDLE_MS;
  }

  async #holds(): Promise<boolean> {
    const { store, now } = this.#parts;
    const at = now();
    if (this.#heldUntil - at > LEASE_MS - RENEW_MS) return true;
    const holds = await store.meta.hold(LEASE, this.#owner, LEASE_MS, at);
    // This server does not know what another one moved meanwhile.
    if (!holds) this.#memory.clear();
    this.#heldUntil = holds ? at + LEASE_MS : Number.NEGATIVE_INFINITY;
    return holds;
  }

  /** Recorded counts, with moved devices at their destination. */
  async #placed(): Promise<Placed[]> {
    const { store, now } = this.#parts;
    const at = now();
    this.#memory.forgetOld(at);
    const placed: Placed[] = (await store.devices.placements()).filter(
      ({ groupId }) => !isRehearsal(groupId),
    );
    const underWay = await store.devices.getMany(this.#memory.underWay());
    const where = new Map(underWay.map((device) => [device.id, device.connected ? device.gateway : null]));
    return [...placed, ...this.#memory.corrections(where, at)];
  }

  async #spread(fleet: Fleet, placed: readonly Placed[]): Promise<void> {
    const { metrics, store, hub, now, log } = this.#parts;
    const classes = classesOf(placed, fleet.gateways);
    const plan = planMoves(
      this.#balanceGateways(fleet, placed),
      classes,
      this.#unbalanced,
      this.#options.movesPerSecond,
    );
    metrics.balanceDeviation.set(plan.deviation);
    this.#unbalanced = plan.unbalanced;
    const byKey = new Map<string, DeviceClass>(classes.map((each) => [each.key, each]));
    const done = new Map<string, { from: string; to: string; count: number }>();
    const moved = (from: string, to: string, count: number) => {
      if (count === 0) return;
      metrics.balanceMoves.inc({ from, to }, count);
      const key = `${from} ${to}`;
      done.set(key, { from, to, count: (done.get(key)?.count ?? 0) + count });
    };
    for (const move of plan.moves) {
      const each = byKey.get(move.class);
      if (!each || this.#stopping) continue;
      moved(move.from, move.to, await this.#mover.move(fleet, each, move));
    }
    for (const relief of plan.reliefs) {
      const each = byKey.get(relief.class);
      if (!each || this.#stopping) continue;
      const went = await this.#mover.relieve(fleet, each, relief, plan.room);
      for (const [to, count] of went) moved(relief.from, to, count);
    }
    if (done.size === 0) return;
    const at = now();
    await store.events.append([...done.values()].map((data) => ({ at, type: 'balance.moved', data })));
    hub.notify();
    log.debug({ moved: sum([...done.values()], (each) => each.count) }, 'devices moved to spread the load');
  }

  #balanceGateways(fleet: Fleet, placed: readonly Placed[]): Map<string, BalanceGateway> {
    const onRecord = new Map<string, number>();
    for (const { gateway, devices } of placed) onRecord.set(gateway, (onRecord.get(gateway) ?? 0) + devices);
    return new Map(
      fleet.gateways.map(({ name, connectionLimit, capacity, connections, admitting }) => [
        name,
        {
          limit: connectionLimit,
          capacity,
          connections: Math.max(connections, onRecord.get(name) ?? 0),
          admitting,
          // Lease and records may each lag behind the other: only what both say counts.
          surplus: Math.max(0, Math.min(connections, onRecord.get(name) ?? 0) - capacity),
        },
      ]),
    );
  }

  /** Catches devices that were moved to another group while their gateway could not be reached. */
  async #sendStraysAway(fleet: Fleet, placed: readonly Placed[]): Promise<void> {
    const gateways = new Map(fleet.gateways.map((gateway) => [gateway.name, gateway]));
    let left = STRAYS;
    for (const { gateway, devices, ...slice } of placed) {
      const here = gateways.get(gateway);
      if (!here || devices <= 0 || serves(here, slice.groupPath)) continue;
      left -= await this.#mover.sendStraysAway(fleet, here, slice, left);
      if (left <= 0 || this.#stopping) return;
    }
  }

  async #noteDrained(fleet: Fleet): Promise<void> {
    const { store, hub, now, log } = this.#parts;
    for (const { name, state, revision, drainedAt } of fleet.gateways) {
      if (state !== 'drained' || drainedAt !== null) continue;
      const at = now();
      const first = await store.transaction(async (tx) => {
        const first = await tx.gateways.markDrained(name, revision, at);
        if (first) await tx.events.append([{ at, type: 'gateway.drained', data: { name } }]);
        return first;
      });
      if (!first) continue;
      hub.notify();
      log.info({ gateway: name }, 'gateway drained');
    }
  }
}
