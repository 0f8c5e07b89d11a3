import type { RedisOptions } from 'ioredis';
import { BusUnavailable } from '../bus.ts';
import { type Client, close, newClient, open, reconnectDelayMs } from './client.ts';
import { reasonOf, replyCode } from './errors.ts';
import { objection, parseInfo, type ServerFacts } from './server-facts.ts';
import { type Endpoint, endpointName, type RedisTarget } from './settings.ts';

/** How long a server may take to identify itself, milliseconds. */
const INTRODUCTION_MS = 2_000;

export interface LinkEvents {
  /** Called with a connection to a usable server, to prepare it. The link is usable once this resolves. */
  prepare(link: Link): Promise<void>;
  usable(link: Link): void;
  /** The link became unusable, or the server it reached cannot be used. */
  lost(link: Link): void;
}

/**
 * A connection to the current server, for as long as it is open. It becomes usable only after the server has
 * identified itself: the link disconnects from a replica, or from a server that is loading its data.
 */
export class Link {
  readonly client: Client;
  /** What the server last reported about itself. */
  facts: ServerFacts | null = null;
  /** Connections made after the first. */
  reconnects = 0;
  readonly #cluster: boolean;
  readonly #database: number;
  readonly #events: LinkEvents;
  #endpoint: Endpoint | null = null;
  #usable = false;
  #introductions = 0;
  #refusals = 0;
  #reason = 'not connected yet';

  constructor(
    target: RedisTarget,
    locate: () => Promise<Endpoint>,
    options: Omit<RedisOptions, 'replyMapping'>,
    events: LinkEvents,
  ) {
    this.#cluster = target.kind === 'cluster';
    this.#database = target.database;
    this.#events = events;
    const locateAndRemember = async () => {
      this.#endpoint = await locate();
      return this.#endpoint;
    };
    const delayMs = (attempt: number) => reconnectDelayMs(Math.max(attempt, this.#refusals + 1));
    this.client = newClient(target, { locate: locateAndRemember, delayMs }, options);
    this.client.on('error', (error: Error) => {
      this.#reason = reasonOf(error);
    });
    this.client.on('ready', () => void this.#introduce());
    this.client.on('close', () => this.#lose());
  }

  /** The server it is, or last was, connected to, or tries to reach. */
  get endpoint(): Endpoint | null {
    return this.#endpoint;
  }

  get server(): string {
    return this.#endpoint === null ? 'unknown' : endpointName(this.#endpoint);
  }

  get usable(): boolean {
    return this.#usable;
  }

  /** Why it is not usable. */
  get reason(): string {
    return this.#reason;
  }

  open(): void {
    open(this.client);
  }

  close(): Promise<void> {
    return close(this.client);
  }

  /** Replaces this connection by a new one, which may lead to another server. */
  renew(reason: string): void {
    this.#lose();
    this.#reason = reason;
    const { status } = this.client;
    if (status === 'ready' || status === 'connect') this.client.disconnect(true);
    // It is pausing before its next attempt: try now.
    else if (status === 'reconnecting') open(this.client);
  }

  /**
   * Asks the server again for its role. Rejects when it does not answer in time, or can no longer be used.
   */
  async examine(): Promise<ServerFacts> {
    const facts = parseInfo(await within(INTRODUCTION_MS, this.#info('replication')));
    if (facts.role === 'slave') throw new BusUnavailable(`${this.server}: it is a replica`);
    if (this.facts !== null) this.facts = { ...this.facts, role: facts.role, history: facts.history };
    return facts;
  }

  async #introduce(): Promise<void> {
    this.#introductions += 1;
    const introduction = this.#introductions;
    const current = () => introduction === this.#introductions && this.client.status === 'ready';
    try {
      // The client selects it as well, but continues in database 0 if it does not exist.
      if (this.#database > 0) await within(INTRODUCTION_MS, this.client.select(this.#database));
      const facts = parseInfo(await within(INTRODUCTION_MS, this.#info()));
      const against = objection(facts, this.#cluster);
      if (against !== null) throw new BusUnavailable(`${this.server}: ${against}`);
      this.facts = facts;
      await this.#events.prepare(this);
      if (!current()) return;
    } catch (error) {
      if (!current()) return;
      this.#refusals += 1;
      this.#reason = reasonOf(error);
      this.client.disconnect(true);
      this.#events.lost(this);
      return;
    }
    if (introduction > 1) this.reconnects += 1;
    this.#refusals = 0;
    this.#reason = 'the connection was closed';
    this.#usable = true;
    this.#events.usable(this);
  }

  async #info(...sections: string[]): Promise<string> {
    try {
      return await this.client.info(...sections);
    } catch (error) {
      // This user may not ask: then nothing is known, and the server counts as usable.
      if (replyCode(error) === 'NOPERM') return '';
      throw error;
    }
  }

  #lose(): void {
    if (!this.#usable) return;
    this.#usable = false;
    this.#events.lost(this);
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new BusUnavailable(`no answer within ${ms} ms`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
