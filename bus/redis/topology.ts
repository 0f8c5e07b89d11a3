import { BusUnavailable } from '../bus.ts';
import { type Endpoint, endpointName } from './settings.ts';

/**
 * Finds the servers of a Redis installation. A *place* serves a part of the keys and is the target of a
 * connection: with one primary there is one place, in a Redis Cluster every primary is one, named by its
 * address.
 */
export interface Topology {
  /** The place of a key or channel; `null` while none is known. */
  placeOf(key: string): string | null;
  places(): readonly string[];
  /** A hash tag whose keys are all in that place. */
  tagOf(place: string): string;
  /** The current server of that place. Rejects with `BusUnavailable` when it cannot be determined. */
  locate(place: string): Promise<Endpoint>;
  /** The same from current knowledge, without a query. */
  current(place: string): Endpoint | null;
  /** `onChange` is called whenever a place moves to another server, appears or disappears. */
  start(onChange: () => void): void;
  /** Checks soon, because something suggests that servers changed their roles. */
  look(): void;
  /** A server said that this slot is served by another. */
  moved(slot: number, endpoint: Endpoint): void;
  /** Why the topology cannot be refreshed (for example, no sentinel answers); `null` when it can. */
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
      `${endpointName(this.#endpoint)} belongs to a Redis Cluster and redirects to ` +
        `${endpointName(endpoint)}: use redis+cluster://`,
    );
  }

  problem(): null {
    return null;
  }

  async stop(): Promise<void> {}
}

/** Runs `look` at an interval and on request, never concurrently nor more often than every 100 ms. */
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

  /** Resolves after a run of `look` that begins now or is in progress. `look` must not reject. */
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
