/**
 * Whether a connected device would be better off elsewhere (G-12): probes now and then, soon where it is not
 * at the nearest, and has it move only when its gateway was clearly slower several times in a row and it has
 * been there for a while.
 */
import { type GatewayAddress, tieBand } from '../../protocol/index.ts';
import { type Distances, measuredOf, type ProbeOptions } from './probe.ts';

export interface WatchParts {
  options: ProbeOptions;
  /** One round over the current list; `rivals`: over those only that tell whether to leave this gateway. */
  round(signal: AbortSignal, rivals: boolean): Promise<Distances>;
  /** The list in the server's order, the best first. */
  list(): readonly GatewayAddress[];
  /** How the gateway with this url compares with the others, by all that was measured. */
  standing(url: string): 'near' | 'away' | 'unsure';
  /** What was measured, also where it leads to nothing. */
  measured(distances: Distances): void;
  move(to: GatewayAddress): void;
  /** From 0 up to 1. */
  random: () => number;
  /** Monotonic, milliseconds. */
  now?: () => number;
}

interface Stay {
  url: string;
  since: number;
  dwellMs: number;
  /** Sent here for the load, away from what is nearer: whoever did that knew. */
  sent: boolean;
}

export class GatewayWatch {
  readonly #parts: WatchParts;
  readonly #now: () => number;
  #stay: Stay | null = null;
  /** Rounds in a row that spoke for leaving. */
  #against = 0;
  /** Rounds here that were due soon, and whether the next is. */
  #soonRounds = 0;
  #soon = false;
  #movedAt = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #life = new AbortController();
  #probing = false;
  /** Another round was asked for during this one. */
  #again = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  /**
   * A session is open. One with the same gateway as before goes on with its stay. `balanced`: it was sent
   * here for that.
   */
  arrived(url: string, balanced = false): void {
    if (this.#stay?.url !== url) {
      const away = this.#parts.standing(url) === 'away';
      const sent = balanced && away;
      this.#stay = { url, since: this.#now(), dwellMs: this.#dwellMs(sent, away), sent };
      this.#against = 0;
      this.#soonRounds = 0;
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

  /** There is another list, during a session: what is new in it may be nearer. */
  listed(): void {
    const { url } = this.#stay ?? {};
    if (!this.#timer || url === undefined || this.#soon || this.#against > 0) return;
    if (this.#parts.standing(url) !== 'near') this.#plan();
  }

  /** One round, now. `rivals`: only as wide as it takes to tell whether to leave. */
  async check(rivals = false): Promise<void> {
    const life = this.#life;
    const stay = this.#stay;
    if (!stay || life.signal.aborted) return;
    if (this.#probing) {
      this.#again = true;
      return;
    }
    this.#again = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#parts.list().length > 1 || this.#parts.standing(stay.url) === 'unsure') {
      this.#probing = true;
      const distances = await this.#parts.round(life.signal, rivals);
      this.#probing = false;
      // Another session may have begun meanwhile, with a plan of its own.
      if (life.signal.aborted) return;
      // Asked for meanwhile: the network may be another than the one that was measured.
      if (this.#again) return this.check(rivals);
      this.#parts.measured(distances);
      const to = this.#judge(stay, distances);
      if (to) {
        this.#movedAt = this.#now();
        this.#parts.move(to);
        return;
      }
    }
    this.#plan();
  }

  /**
   * A device that lost the nearest may go back at once, but one that was back a moment ago has cause to wait.
   */
  #dwellMs(sent: boolean, away: boolean): number {
    const { options } = this.#parts;
    if (sent) return options.balancedDwellMs;
    const backLately = this.#now() - this.#movedAt < options.dwellMs;
    return away && !backLately ? 0 : options.dwellMs;
  }

  #judge(stay: Stay, distances: Distances) {
    const { options, list } = this.#parts;
    const band = tieBand(measuredOf(distances), options);
    const own = distances.get(stay.url);
    // A full gateway refuses probes and serves its sessions well: whether this one is good, beats tell.
    const slow = own !== undefined && own !== null && !band.has(stay.url);
    this.#against = slow ? this.#against + 1 : 0;
    if (this.#against < options.rounds || this.#now() < stay.since + stay.dwellMs) return undefined;
    this.#against = 0;
    return list().find(({ url }) => band.has(url));
  }

  #plan(): void {
    const { random } = this.#parts;
    const stay = this.#stay;
    if (!stay) return;
    const standing = this.#against > 0 ? 'against' : this.#parts.standing(stay.url);
    const soon = (standing === 'away' && !stay.sent) || standing === 'unsure';
    this.#soon = soon;
    if (!soon) this.#soonRounds = 0;
    const pauseMs = soon ? this.#soonMs(standing) : this.#usualMs(stay) * (0.5 + random());
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.check(soon), pauseMs);
  }

  /**
   * From half the pause to one and a half of it, so that a fleet that came together does not probe together.
   */
  #usualMs({ since, dwellMs }: Stay): number {
    const { everyMs, confirmMs } = this.#parts.options;
    if (this.#against === 0) return everyMs;
    return Math.max(confirmMs, Math.min(everyMs, since + dwellMs - this.#now()));
  }

  /**
   * A gateway that fell away has all its devices here at once, and a new one all of them: both get their
   * time.
   */
  #soonMs(standing: string): number {
    const { options, random } = this.#parts;
    const { soonMs, everyMs } = options;
    if (standing === 'unsure' && this.#soonRounds === 0) return soonMs * (1 + 9 * random());
    const least = Math.min(everyMs, soonMs * 2 ** Math.min(this.#soonRounds++, 20));
    return least * (1 + random());
  }
}
