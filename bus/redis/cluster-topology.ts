import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { BusUnavailable } from '../bus.ts';
import { open, seedClient } from './client.ts';
import { reasonOf } from './errors.ts';
import { type Endpoint, endpointName, type RedisTarget } from './settings.ts';
import { SLOTS, slotOf } from './slots.ts';
import { Lookout, type Topology } from './topology.ts';

const LOOK_INTERVAL_MS = 2_000;
/** Servers asked in one poll; more than one, because one may be cut off from the others. */
const ASKED_AT_ONCE = 4;
const SEED_DEADLINE_MS = 2_000;
/** How long the known topology outweighs servers that report an older one, milliseconds. */
const BELIEVED_MS = 15_000;

interface View {
  /** Of the cluster; grows with every failover. */
  epoch: number;
  whole: boolean;
  primaries: Endpoint[];
  /** Index into `primaries` by slot; -1: none. */
  slots: Int16Array;
}

/**
 * Tracks which primary serves which slots of a Redis Cluster. It polls servers, and does not rely on
 * redirects or lost connections alone. The newest of several answers counts, so a server that is cut off from
 * the others does not mislead.
 */
export class ClusterTopology implements Topology {
  readonly #target: RedisTarget;
  readonly #connected: () => readonly Redis[];
  readonly #log: Logger;
  readonly #lookout = new Lookout(LOOK_INTERVAL_MS, () => this.#look());
  readonly #tags = new Map<string, string>();
  #view: View | null = null;
  #confirmedAt = 0;
  #problem: string | null = 'the cluster has not been queried yet';
  #onChange: () => void = () => {};

  /** `connected`: connections to servers of the cluster that can be asked. */
  constructor(target: RedisTarget, connected: () => readonly Redis[], log: Logger) {
    this.#target = target;
    this.#connected = connected;
    this.#log = log;
  }

  start(onChange: () => void): void {
    this.#onChange = onChange;
    void this.#lookout.now();
  }

  stop(): Promise<void> {
    return this.#lookout.stop();
  }

  placeOf(key: string): string | null {
    const view = this.#view;
    const index = view?.slots[slotOf(key)] ?? -1;
    const primary = view?.primaries[index];
    return primary === undefined ? null : endpointName(primary);
  }

  places(): readonly string[] {
    return this.#view?.primaries.map(endpointName) ?? [];
  }

  tagOf(place: string): string {
    const known = this.#tags.get(place);
    if (known !== undefined && this.placeOf(`{${known}}`) === place) return known;
    for (let number = 0; number < 100_000; number += 1) {
      const tag = number.toString(36);
      if (this.placeOf(`{${tag}}`) !== place) continue;
      this.#tags.set(place, tag);
      return tag;
    }
    throw new BusUnavailable(`${place} serves no slots`);
  }

  async locate(place: string): Promise<Endpoint> {
    const endpoint = this.current(place);
    if (endpoint === null) throw new BusUnavailable(`${place} is no longer a primary of the cluster`);
    return endpoint;
  }

  current(place: string): Endpoint | null {
    return this.#view?.primaries.find((primary) => endpointName(primary) === place) ?? null;
  }

  look(): void {
    this.#lookout.soon();
  }

  moved(slot: number, endpoint: Endpoint): void {
    const view = this.#view;
    if (view !== null) {
      const name = endpointName(endpoint);
      let index = view.primaries.findIndex((primary) => endpointName(primary) === name);
      if (index === -1) index = view.primaries.push(endpoint) - 1;
      view.slots[slot] = index;
      this.#onChange();
    }
    this.#lookout.soon();
  }

  problem(): string | null {
    return this.#problem;
  }

  async #look(): Promise<void> {
    const views = await this.#askConnected();
    // While something is wrong, the seeds are asked as well: all connected servers may be on the wrong side
    // of a partition.
    if (!views.some(({ whole }) => whole)) views.push(...(await this.#askSeeds()));
    let best: View | null = null;
    for (const view of views) {
      if (
        best === null ||
        view.epoch > best.epoch ||
        (view.epoch === best.epoch && view.whole && !best.whole)
      ) {
        best = view;
      }
    }
    if (best === null || best.primaries.length === 0) {
      this.#problem ??= 'no server of the cluster answers';
      return;
    }
    const now = performance.now();
    if (this.#view !== null && best.epoch < this.#view.epoch && now - this.#confirmedAt < BELIEVED_MS) return;
    this.#problem = null;
    this.#confirmedAt = now;
    if (this.#view !== null && sameView(this.#view, best)) return;
    this.#log.debug(
      { primaries: best.primaries.map(endpointName), epoch: best.epoch },
      'servers of the cluster',
    );
    this.#view = best;
    this.#onChange();
  }

  async #askConnected(): Promise<View[]> {
    const clients = [...this.#connected()];
    const asked: Redis[] = [];
    while (asked.length < ASKED_AT_ONCE && clients.length > 0) {
      asked.push(...clients.splice(Math.floor(Math.random() * clients.length), 1));
    }
    const views = await Promise.all(asked.map((client) => this.#ask(client, null)));
    return views.filter((view) => view !== null);
  }

  async #askSeeds(): Promise<View[]> {
    const endpoints = new Map(
      [...(this.#view?.primaries ?? []), ...this.#target.endpoints].map((endpoint) => [
        endpointName(endpoint),
        endpoint,
      ]),
    );
    const views = await Promise.all(
      [...endpoints.values()].map(async (endpoint) => {
        const client = seedClient(this.#target, endpoint);
        const ready = new Promise<boolean>((resolve) => {
          client.once('ready', () => resolve(true));
          client.once('end', () => resolve(false));
          setTimeout(() => resolve(false), SEED_DEADLINE_MS).unref();
        });
        client.on('error', (error: Error) => {
          if (this.#view === null) this.#problem = `${endpointName(endpoint)}: ${reasonOf(error)}`;
        });
        open(client);
        try {
          return (await ready) ? await this.#ask(client, endpoint) : null;
        } finally {
          client.disconnect();
        }
      }),
    );
    return views.filter((view) => view !== null);
  }

  async #ask(client: Redis, endpoint: Endpoint | null): Promise<View | null> {
    try {
      const [slots, info] = await Promise.all([client.cluster('SLOTS'), client.cluster('INFO')]);
      return parseView(
        slots as unknown as RawRange[],
        String(info),
        endpoint?.host ?? client.stream?.remoteAddress ?? '',
      );
    } catch (error) {
      this.#problem = reasonOf(error);
      return null;
    }
  }
}

type RawRange = [
  first: number,
  last: number,
  primary: [host: string | null, port: number, ...unknown[]],
  ...unknown[],
];

/** `askedHost` stands for a server that does not know its own address. */
function parseView(ranges: readonly RawRange[], info: string, askedHost: string): View {
  const slots = new Int16Array(SLOTS).fill(-1);
  const primaries = new Map<string, { endpoint: Endpoint; index: number }>();
  const sorted = [...ranges].sort(([a], [b]) => a - b);
  for (const [first, last, [host, port]] of sorted) {
    const endpoint = { host: host || askedHost, port: Number(port) };
    const name = endpointName(endpoint);
    const entry = primaries.get(name) ?? { endpoint, index: primaries.size };
    primaries.set(name, entry);
    slots.fill(entry.index, first, last + 1);
  }
  return {
    epoch: Number(/cluster_current_epoch:(\d+)/.exec(info)?.[1] ?? 0),
    whole: info.includes('cluster_state:ok'),
    primaries: [...primaries.values()].map(({ endpoint }) => endpoint),
    slots,
  };
}

function sameView(a: View, b: View): boolean {
  return (
    a.primaries.map(endpointName).join() === b.primaries.map(endpointName).join() &&
    Buffer.from(a.slots.buffer).equals(Buffer.from(b.slots.buffer))
  );
}
