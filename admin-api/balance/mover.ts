import type { DeviceSender } from '../best-effort-sender.ts';
import type { Store } from '../store/store.ts';
import type { DeviceClass, Slice } from './classes.ts';
import type { MoveMemory } from './move-memory.ts';
import { nearestFirst } from './nearness.ts';
import { type Fleet, namesOf, type WeighedGateway } from './placement.ts';
import type { PlannedMove, PlannedRelief } from './plan.ts';
import { balanceRedirect, outOfScope } from './redirects.ts';

/** Devices examined for each one to move: among five gateways, a fifth of them belong on the new one. */
const LOOKED_AT_FOR_EACH = 10;
const LOOKED_AT_MIN = 500;
const LOOKED_AT_MAX = 5000;
const QUERIES_MAX = 20;
const CURSORS_MAX = 10_000;
/** A device that has just connected may be about to report its measurements. */
const SETTLE_MS = 5_000;

export interface MoverParts {
  store: Store;
  sender: DeviceSender;
  memory: MoveMemory;
  now: () => number;
}

interface Candidate {
  id: string;
  slice: Slice;
  ranked: WeighedGateway[];
}

/** Chooses the devices to move, and redirects them. */
export class Mover {
  readonly #parts: MoverParts;
  /** Where the last search in a group on a gateway ended, so that all its devices get their turn. */
  readonly #cursors = new Map<string, string>();

  constructor(parts: MoverParts) {
    this.#parts = parts;
  }

  /** Returns how many devices were redirected. */
  async move(fleet: Fleet, each: DeviceClass, { from, to, count }: PlannedMove): Promise<number> {
    const target = fleet.gateways.find((gateway) => gateway.name === to);
    if (!target || target.told === null) return 0;
    const candidates = await this.#candidates(fleet, each, from, count);
    // Devices whose own ranking agrees stay there when they reconnect.
    const place = ({ ranked }: Candidate) => ranked.findIndex((gateway) => gateway.name === to);
    const chosen = new Map(
      candidates
        .map((candidate) => ({ candidate, place: place(candidate) }))
        .sort((a, b) => a.place - b.place)
        .slice(0, count)
        .map(({ candidate }) => [candidate.id, candidate]),
    );
    return this.#send(fleet, from, chosen, () => target);
  }

  /**
   * Relieves a gateway above its limit: each device goes to the nearest gateway with room that it measured.
   * Updates `room`. Returns how many went where.
   */
  async relieve(
    fleet: Fleet,
    each: DeviceClass,
    { from, count }: PlannedRelief,
    room: Map<string, number>,
  ): Promise<Map<string, number>> {
    const candidates = (await this.#candidates(fleet, each, from, count)).slice(0, count);
    const went = new Map<string, number>();
    await this.#send(fleet, from, new Map(candidates.map((one) => [one.id, one])), ({ ranked, slice }) => {
      const others = ranked.filter(({ name }) => name !== from && (room.get(name) ?? 0) >= 1);
      const [target] = nearestFirst(others, slice.near);
      if (target) {
        room.set(target.name, (room.get(target.name) ?? 0) - 1);
        went.set(target.name, (went.get(target.name) ?? 0) + 1);
      }
      return target;
    });
    return went;
  }

  async #send(
    fleet: Fleet,
    from: string,
    chosen: ReadonlyMap<string, Candidate>,
    targetOf: (candidate: Candidate) => WeighedGateway | undefined,
  ): Promise<number> {
    const { sender, memory, now } = this.#parts;
    let moved = 0;
    await sender.deliver([...chosen.keys()], (id, { incarnation, session }) => {
      const candidate = chosen.get(id);
      if (!candidate || fleet.gatewayOf(incarnation)?.name !== from) return [];
      const target = targetOf(candidate);
      if (!target) return [];
      memory.moved(id, { from, to: target.name, slice: candidate.slice, at: now() });
      moved += 1;
      const others = candidate.ranked.filter(({ name }) => name !== target.name);
      return [balanceRedirect([{ id, session }], namesOf([target, ...others]))];
    });
    return moved;
  }

  /** Sends these devices away from a gateway whose scope does not include their group; returns how many. */
  async sendStraysAway(fleet: Fleet, gateway: WeighedGateway, slice: Slice, most: number): Promise<number> {
    const { store, sender, memory, now } = this.#parts;
    const found = await store.devices.connectedIn(gateway.name, slice, {
      after: '',
      before: now(),
      limit: most,
    });
    let sent = 0;
    await sender.deliver(
      found.filter((id) => !memory.wasSentAway(id)),
      (id, { incarnation, session }) => {
        if (fleet.gatewayOf(incarnation)?.name !== gateway.name) return [];
        memory.sentAway(id, now());
        sent += 1;
        return [outOfScope([{ id, session }], namesOf(fleet.ranked(id, slice.groupPath)))];
      },
    );
    return sent;
  }

  async #candidates(fleet: Fleet, each: DeviceClass, from: string, count: number): Promise<Candidate[]> {
    const { store, memory } = this.#parts;
    const wanted = Math.min(LOOKED_AT_MAX, Math.max(LOOKED_AT_MIN, count * LOOKED_AT_FOR_EACH));
    const slices = each.slices.get(from) ?? [];
    const before = this.#parts.now() - SETTLE_MS;
    const found: Candidate[] = [];
    if (this.#cursors.size > CURSORS_MAX) this.#cursors.clear();
    const first = Math.floor(Math.random() * slices.length);
    for (let i = 0; i < Math.min(slices.length, QUERIES_MAX) && found.length < wanted; i++) {
      const slice = slices[(first + i) % slices.length];
      if (!slice) break;
      const key = `${from} ${slice.groupId} ${slice.near}`;
      const after = this.#cursors.get(key) ?? '';
      const limit = wanted - found.length;
      const ids = await store.devices.connectedIn(from, slice, { after, before, limit });
      if (ids.length < limit && after !== '') {
        const rest = { after: '', before, limit: limit - ids.length };
        const again = await store.devices.connectedIn(from, slice, rest);
        ids.push(...again.filter((id) => id <= after));
      }
      const last = ids.at(-1);
      if (last !== undefined) this.#cursors.set(key, last);
      for (const id of ids) {
        if (!memory.rests(id)) found.push({ id, slice, ranked: fleet.ranked(id, slice.groupPath) });
      }
    }
    return found;
  }
}
