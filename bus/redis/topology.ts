import { BusUnavailable } from '../bus.ts';
import { type Endpoint, endpointName } from './settings.ts';

/**
 * Where things are in Redis as people run it. A *place* is what serves a part of the keys, and is what a
 * connection is made to: with one primary there is one place, in a Redis Cluster every primary is one, named
 * by its address.
 */
export interface Topology {
  /** The place of a key or channel; `null` while nobody is known to serve it. */
  placeOf(key: string): string | null;
  places(): readonly string[];
  /** A hash tag whose keys are all in that place. */
  tagOf(place: string): string;
  /** The server that is that place now. Rejects with `BusUnavailable` when that cannot be found out. */
  locate(place: string): Promise<Endpoint>;
  /** The same, of what is known already. */
  current(place: string): Endpoint | null;
  /** `onChange` is called whenever a place moved to another server, or places came or went. */
  start(onChange: () => void): void;
  /** Something suggests that servers changed their roles: finds out soon. */
  look(): void;
  /** A server said that this slot is served by another. */
  moved(slot: number, endpoint: Endpoint): void;
  /** Why nothing new can be found out (no sentinel answers, say); `null` when it can. */
  problem(): string | null;
  stop(): Promise<void>;
}

/** The only place, unless Redis is a cluster. */
export const PRIMARY = 'primary';

/** One server, always at the same address. */
export class StandaloneTopology implements Topology {
  readonly #endpoint: Endpoint;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  placeOf(): string {
    return PRIMARY;
  }

  places(): readonly string[] {
    return [PRIMARY];
  }

  tagOf(): string {
    return PRIMARY;
  }

  async locate(): Promise<Endpoint> {
    return this.#endpoint;
  }

  current(): Endpoint {
    return this.#endpoint;
  }

  start(): void {}

  look(): void {}

  moved(_slot: number, endpoint: Endpoint): void {
    throw new BusUnavailable(
      `${endpointName(this.#endpoint)} is of a Redis Cluster and sends to ${endpointName(endpoint)}: use redis+cluster://`,
    );
  }

  problem(): null {
    return null;
  }

  async stop(): Promise<void> {}
}

/**
 * Runs `look` at an interval, and sooner when asked, never twice at a time nor more often than every 100 ms.
 */
export class Lookout {
  readonly #look: () => Promise<void>;
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | null = null;
  #begunAt = Number.NEGATIVE_INFINITY;
  #again = false;
  #stopped = false;

  constructor(intervalMs: number, look: () => Promise<void>) {
    this.#look = look;
    this.#intervalMs = intervalMs;
  }

  /** Resolves after a look that began now or is under way. `look` must not reject. */
  now(): Promise<void> {
    this.#looking ??= this.#run();
    return this.#looking;
  }

  soon(): void {
    if (this.#looking !== null) this.#again = true;
    else this.#schedule(Math.max(100 - (performance.now() - this.#begunAt), 0));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  async #run(): Promise<void> {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#begunAt = performance.now();
    this.#again = false;
    try {
      await this.#look();
    } finally {
      this.#looking = null;
      this.#schedule(this.#again ? 100 : this.#intervalMs);
    }
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.now(), delayMs);
  }
}
