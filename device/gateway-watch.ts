/**
 * Whether a connected device would be better off elsewhere (G-12): probes now and then, and has it move only when
 * its gateway was clearly slower several times in a row and it has been there for a while.
 */
import type { GatewayAddress } from '../protocol/index.ts';
import { type Distances, type ProbeOptions, tieBand } from './gateway-probe.ts';

export interface WatchParts {
  options: ProbeOptions;
  /** One round over the current list. */
  round(signal: AbortSignal): Promise<Distances>;
  /** The list in the server's order, the best first. */
  list(): readonly GatewayAddress[];
  /** What was measured, also where it leads to nothing. */
  measured(distances: Distances): void;
  move(to: GatewayAddress): void;
  /** From 0 up to 1. */
  random: () => number;
  /** Monotonic, milliseconds. */
  now?: () => number;
}

export class GatewayWatch {
  readonly #parts: WatchParts;
  readonly #now: () => number;
  #stay: { url: string; since: number; dwellMs: number } | null = null;
  /** Rounds in a row that spoke for leaving. */
  #against = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #life = new AbortController();
  #probing = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  /** A session is open. One with the same gateway as before goes on with its stay. `balanced`: it was sent here for that. */
  arrived(url: string, balanced = false): void {
    const { dwellMs, balancedDwellMs } = this.#parts.options;
    if (this.#stay?.url !== url) {
      this.#stay = { url, since: this.#now(), dwellMs: balanced ? balancedDwellMs : dwellMs };
      this.#against = 0;
    }
    this.#life = new AbortController();
    this.#plan();
  }

  /** The session is over. */
  left(): void {
    this.#life.abort();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** One round, now. */
  async check(): Promise<void> {
    const life = this.#life;
    const stay = this.#stay;
    if (!stay || life.signal.aborted || this.#probing) return;
    clearTimeout(this.#timer);
    if (this.#parts.list().length > 1) {
      this.#probing = true;
      const distances = await this.#parts.round(life.signal);
      this.#probing = false;
      // Another session may have begun meanwhile, with a plan of its own.
      if (life.signal.aborted) return;
      this.#parts.measured(distances);
      const to = this.#judge(stay, distances);
      if (to) {
        this.#parts.move(to);
        return;
      }
    }
    this.#plan();
  }

  #judge(stay: { url: string; since: number; dwellMs: number }, distances: Distances) {
    const { options, list } = this.#parts;
    const band = tieBand(distances, options);
    const own = distances.get(stay.url);
    // A full gateway refuses probes and serves its sessions well: whether this one is good, beats tell.
    const slow = own !== undefined && own !== null && !band.has(stay.url);
    this.#against = slow ? this.#against + 1 : 0;
    if (this.#against < options.rounds || this.#now() < stay.since + stay.dwellMs) return undefined;
    this.#against = 0;
    return list().find(({ url }) => band.has(url));
  }

  /** From half the pause to one and a half of it, so that a fleet that came together does not probe together. */
  #plan(): void {
    const { options, random } = this.#parts;
    const { since, dwellMs } = this.#stay ?? { since: 0, dwellMs: 0 };
    const pauseMs =
      this.#against === 0
        ? options.everyMs
        : Math.max(options.confirmMs, Math.min(options.everyMs, since + dwellMs - this.#now()));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.check(), pauseMs * (0.5 + random()));
  }
}
