import type { Logger } from 'pino';
import { BusUnavailable } from '../bus.ts';
import type { Argument, Client } from './client.ts';
import { asBusError, reasonOf, redirectionOf, replyCode } from './errors.ts';
import type { Histories } from './histories.ts';
import { Link } from './link.ts';
import type { Script } from './script.ts';
import { SCRIPTS } from './scripts/index.ts';
import { endpointName, type RedisTarget } from './settings.ts';
import type { Topology } from './topology.ts';

/** Redirections followed for one command: one is usual while a slot changes hands. */
const MAX_REDIRECTIONS = 3;
/** How long a redirected command waits for a connection to a server that was not known yet, milliseconds. */
const NEW_SERVER_MS = 1_000;

/** Issues exactly one command on the given client. */
type Command<T> = (client: Client) => Promise<T>;

/**
 * The connections for everything that does not block, one for each place. Commands to one place within one
 * turn of the event loop are sent together (auto-pipelining), in order.
 */
export class Commands {
  readonly #target: RedisTarget;
  readonly #topology: Topology;
  readonly #histories: Histories;
  readonly #log: Logger;
  readonly #onState: () => void;
  readonly #links = new Map<string, Link>();
  /** Counts of closed connections: counters never decrease. */
  #reconnects = 0;
  #open = false;

  /** `onState` is called whenever a connection becomes usable or unusable. */
  constructor(
    target: RedisTarget,
    topology: Topology,
    histories: Histories,
    log: Logger,
    onState: () => void,
  ) {
    this.#target = target;
    this.#topology = topology;
    this.#histories = histories;
    this.#log = log;
    this.#onState = onState;
  }

  open(): void {
    this.#open = true;
    this.follow();
  }

  async close(): Promise<void> {
    this.#open = false;
    await Promise.all([...this.#links.values()].map((link) => link.close()));
  }

  get links(): ReadonlyMap<string, Link> {
    return this.#links;
  }

  get reconnects(): number {
    return [...this.#links.values()].reduce((sum, link) => sum + link.reconnects, this.#reconnects);
  }

  /** Connections that can be asked about the servers. */
  get clients(): Client[] {
    return [...this.#links.values()].filter(({ usable }) => usable).map(({ client }) => client);
  }

  /** Connects to the places of now and disconnects from former ones. */
  follow(): void {
    if (!this.#open) return;
    const places = this.#topology.places();
    for (const [place, link] of this.#links) {
      const current = this.#topology.current(place);
      if (!places.includes(place)) {
        this.#links.delete(place);
        this.#reconnects += link.reconnects;
        void link.close();
      } else if (current !== null && link.endpoint !== null && endpointName(current) !== link.server) {
        link.renew(`${link.server} is no longer the primary`);
      }
    }
    for (const place of places) this.#linkTo(place);
    this.#onState();
  }

  /**
   * Runs a script; binary values in its result are Buffers. Rejects with `BusUnavailable`, or with an error
   * that is a bug.
   */
  async run(
    script: Script,
    keys: readonly [string, ...string[]],
    args: readonly Argument[],
  ): Promise<unknown> {
    try {
      return await this.#send(keys[0], (client) =>
        client.evalshaBuffer(script.sha, keys.length, ...keys, ...args),
      );
    } catch (error) {
      // Only after somebody emptied Redis's script cache: every new connection loads all scripts.
      if (replyCode(error) !== 'NOSCRIPT') throw asBusError(error);
    }
    return this.do(keys[0], (client) => client.evalBuffer(script.lua, keys.length, ...keys, ...args));
  }

  /** Runs a plain command at the place of `key`, which must hold all of its keys. Rejects like `run`. */
  async do<T>(key: string, command: Command<T>): Promise<T> {
    try {
      return await this.#send(key, command);
    } catch (error) {
      throw asBusError(error);
    }
  }

  async #send<T>(key: string, command: Command<T>): Promise<T> {
    const link = this.#usableLink(key);
    try {
      return await command(link.client);
    } catch (error) {
      const redirection = redirectionOf(error);
      if (redirection === null) throw error;
      return this.#redirected(key, command, error);
    }
  }

  /** A redirected command was not executed, so forwarding it repeats nothing. */
  async #redirected<T>(key: string, command: Command<T>, first: unknown): Promise<T> {
    let last = first;
    for (let hop = 0; hop < MAX_REDIRECTIONS; hop += 1) {
      const redirection = redirectionOf(last);
      if (redirection === null) break;
      if (redirection.kind === 'moved') this.#topology.moved(redirection.slot, redirection.endpoint);
      try {
        if (redirection.kind === 'moved')
          return await command((await this.#connected(this.#placeOf(key))).client);
        const link = await this.#connected(endpointName(redirection.endpoint));
        return await asking(link.client, command);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  #placeOf(key: string): string {
    if (!this.#open) throw new BusUnavailable('the bus is not running');
    const place = this.#topology.placeOf(key);
    if (place === null)
      throw new BusUnavailable(this.#topology.problem() ?? 'no server holds this part of the keys');
    return place;
  }

  #usableLink(key: string): Link {
    const place = this.#placeOf(key);
    const link = this.#links.get(place);
    if (link?.usable === true) return link;
    throw new BusUnavailable(link?.reason ?? 'not connected yet');
  }

  async #connected(place: string): Promise<Link> {
    const link = this.#linkTo(place);
    const deadline = performance.now() + NEW_SERVER_MS;
    while (!link.usable) {
      if (performance.now() > deadline || !this.#open) throw new BusUnavailable(`${place}: ${link.reason}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return link;
  }

  #linkTo(place: string): Link {
    const existing = this.#links.get(place);
    if (existing !== undefined) return existing;
    const link = new Link(
      this.#target,
      () => this.#topology.locate(place),
      {
        commandTimeout: 2_000,
        enableAutoPipelining: true,
        // A half-open connection is closed, not only the commands on it.
        socketTimeout: 4_000,
      },
      {
        prepare: async ({ client, facts }) => {
          // Before the first use: `run` could bring a missing script itself, but not without changing the
          // order of calls.
          await Promise.all(Object.values(SCRIPTS).map(({ lua }) => client.script('LOAD', lua)));
          this.#histories.note(place, facts?.history ?? '');
        },
        usable: () => this.#onState(),
        lost: ({ reason }) => {
          this.#log.debug({ reason, place }, 'commands connection');
          this.#topology.look();
          this.#onState();
        },
      },
    );
    this.#links.set(place, link);
    link.open();
    return link;
  }
}

/** Sends the command to a server that is taking over a slot; until it has all of it, it requires ASKING. */
async function asking<T>(client: Client, command: Command<T>): Promise<T> {
  const pipeline = client.pipeline();
  pipeline.call('ASKING');
  // A pipeline has the methods of a client, but they return the pipeline.
  void command(pipeline as unknown as Client);
  const results = (await pipeline.exec()) ?? [];
  const [error, value] = results[1] ?? [new BusUnavailable('no answer')];
  if (error) throw error;
  return value as T;
}

/** For logs and states. */
export function reasonAt(link: Link, error: unknown): string {
  const reason = reasonOf(error);
  return reason.startsWith(link.server) ? reason : `${link.server}: ${reason}`;
}
