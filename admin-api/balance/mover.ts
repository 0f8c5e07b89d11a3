import type { DeviceMail } from '../desks/desk-parts.ts';
import type { Store } from '../store/store.ts';
import type { DeviceClass } from './classes.ts';
import type { MoveMemory } from './move-memory.ts';
import { addressesOf, type Fleet, type WeighedGateway } from './placement.ts';
import type { PlannedMove } from './plan.ts';
import { balanceRedirect, outOfScope } from './redirects.ts';

/** Devices looked at for each one to move: among five gateways a fifth of them belong on the one that joined. */
const LOOKED_AT_FOR_EACH = 10;
const LOOKED_AT_MIN = 500;
const LOOKED_AT_MAX = 5000;
const QUERIES_MAX = 20;
const CURSORS_MAX = 10_000;

export interface MoverParts {
  store: Store;
  mail: DeviceMail;
  memory: MoveMemory;
  now: () => number;
}

interface Candidate {
  id: string;
  group: { id: string; path: string };
  ranked: WeighedGateway[];
}

/** Chooses the devices of a move and sends them. */
export class Mover {
  readonly #parts: MoverParts;
  /** Where the last look at a group on a gateway ended, so that all of its devices have their turn. */
  readonly #cursors = new Map<string, string>();

  constructor(parts: MoverParts) {
    this.#parts = parts;
  }

  /** Returns how many devices were told to go. */
  async move(fleet: Fleet, each: DeviceClass, { from, to, count }: PlannedMove): Promise<number> {
    const { mail, memory, now } = this.#parts;
    const target = fleet.gateways.find((gateway) => gateway.name === to);
    if (!target) return 0;
    const candidates = await this.#candidates(fleet, each, from, count);
    // Those whose own ranking says the same stay there when they connect anew.
    const place = ({ ranked }: Candidate) => ranked.findIndex((gateway) => gateway.name === to);
    const chosen = new Map(
      candidates
        .map((candidate) => ({ candidate, place: place(candidate) }))
        .sort((a, b) => a.place - b.place)
        .slice(0, count)
        .map(({ candidate }) => [candidate.id, candidate]),
    );
    let moved = 0;
    await mail.deliver([...chosen.keys()], (id, { incarnation, session }) => {
      const candidate = chosen.get(id);
      if (!candidate || fleet.gatewayOf(incarnation)?.name !== from) return [];
      memory.moved(id, { from, to, group: candidate.group, at: now() });
      moved += 1;
      const others = candidate.ranked.filter((gateway) => gateway.name !== to);
      return [balanceRedirect([{ id, session }], addressesOf([target, ...others]))];
    });
    return moved;
  }

  /** Sends devices of the group away from a gateway whose scope does not hold it; returns how many. */
  async sendStraysAway(
    fleet: Fleet,
    gateway: WeighedGateway,
    group: { id: string; path: string },
    most: number,
  ): Promise<number> {
    const { store, mail, memory, now } = this.#parts;
    const found = await store.devices.connectedIn(gateway.name, group.id, '', most);
    let sent = 0;
    await mail.deliver(
      found.filter((id) => !memory.rests(id)),
      (id, { incarnation, session }) => {
        if (fleet.gatewayOf(incarnation)?.name !== gateway.name) return [];
        memory.rest(id, now());
        sent += 1;
        return [outOfScope([{ id, session }], addressesOf(fleet.ranked(id, group.path)))];
      },
    );
    return sent;
  }

  async #candidates(fleet: Fleet, each: DeviceClass, from: string, count: number): Promise<Candidate[]> {
    const { store, memory } = this.#parts;
    const wanted = Math.min(LOOKED_AT_MAX, Math.max(LOOKED_AT_MIN, count * LOOKED_AT_FOR_EACH));
    const groups = [...(each.groups.get(from) ?? [])].map(([id, path]) => ({ id, path }));
    const found: Candidate[] = [];
    if (this.#cursors.size > CURSORS_MAX) this.#cursors.clear();
    const first = Math.floor(Math.random() * groups.length);
    for (let i = 0; i < Math.min(groups.length, QUERIES_MAX) && found.length < wanted; i++) {
      const group = groups[(first + i) % groups.length];
      if (!group) break;
      const key = `${from} ${group.id}`;
      const after = this.#cursors.get(key) ?? '';
      const ids = await store.devices.connectedIn(from, group.id, after, wanted - found.length);
      if (ids.length < wanted - found.length && after !== '') {
        const again = await store.devices.connectedIn(from, group.id, '', wanted - found.length - ids.length);
        ids.push(...again.filter((id) => id <= after));
      }
      const last = ids.at(-1);
      if (last !== undefined) this.#cursors.set(key, last);
      for (const id of ids) {
        if (!memory.rests(id)) found.push({ id, group, ranked: fleet.ranked(id, group.path) });
      }
    }
    return found;
  }
}
