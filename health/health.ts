/**
 * How programs tell how they are, in the words gateways and administration servers share. A **dependency** is
 * something a program needs and does not hold in its own hands: without it `ready` fails at once. A **loop**
 * is work the program itself does again and again: one that goes round no more can be mended by a restart
 * only, and `live` fails, slowly.
 */
export interface DependencyReport {
  ok: boolean;
  /** Since when it is as it is, ISO 8601. */
  since: string;
  /** Why it is not there. */
  reason?: string;
  /** What it is made of, where that is told apart. */
  parts?: (DependencyReport & { name: string; server: string })[];
  /** It is there, and something about it should be changed all the same. */
  warnings?: string[];
}

/** Remembers since when it is as it is. */
export class Dependency {
  #ok = false;
  #since = Date.now();
  #reason: string | undefined = 'not tried yet';

  get ok(): boolean {
    return this.#ok;
  }

  get reason(): string | undefined {
    return this.#reason;
  }

  good(): void {
    this.#become(true, undefined);
  }

  bad(reason: string): void {
    this.#become(false, reason);
  }

  report(): DependencyReport {
    return {
      ok: this.#ok,
      since: new Date(this.#since).toISOString(),
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
    };
  }

  #become(ok: boolean, reason: string | undefined): void {
    if (ok !== this.#ok) this.#since = Date.now();
    this.#ok = ok;
    this.#reason = reason;
  }
}

/** Seconds for which it has not been there; 0 while it is. */
export function lostSeconds({ ok, since }: DependencyReport): number {
  return ok ? 0 : Math.max(0, Date.now() - Date.parse(since)) / 1_000;
}

const LOOK_MS = 1_000;

interface Watched {
  rounds: () => number;
  idle: () => boolean;
  seen: number;
  /** Looks since it went round. */
  looks: number;
  state: Dependency;
}

/**
 * Looks once a second whether each loop has gone round since the last look. Looks are counted and not
 * milliseconds: after the process was stopped or the machine slept, nothing was stuck.
 */
export class Loops {
  readonly #watched = new Map<string, Watched>();
  readonly #stuckAfter: number;
  #timer: NodeJS.Timeout | null = null;

  /** `stuckAfter`: seconds without a round. */
  constructor(stuckAfter: number) {
    this.#stuckAfter = stuckAfter;
  }

  /**
   * `rounds` grows each time the loop goes round, whether or not it achieved anything; `idle`: there is
   * nothing to do.
   */
  watch(name: string, rounds: () => number, idle: () => boolean = () => false): void {
    const state = new Dependency();
    state.good();
    this.#watched.set(name, { rounds, idle, seen: rounds(), looks: 0, state });
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }

  get live(): boolean {
    return this.stuck === 0;
  }

  /** How many are stuck. */
  get stuck(): number {
    let count = 0;
    for (const { state } of this.#watched.values()) if (!state.ok) count++;
    return count;
  }

  report(): Record<string, DependencyReport> {
    return Object.fromEntries([...this.#watched].map(([name, { state }]) => [name, state.report()]));
  }

  #look(): void {
    for (const loop of this.#watched.values()) {
      const rounds = loop.rounds();
      if (rounds !== loop.seen || loop.idle()) {
        loop.seen = rounds;
        loop.looks = 0;
        loop.state.good();
      } else if (++loop.looks >= this.#stuckAfter) {
        loop.state.bad(`has not gone round for ${this.#stuckAfter} s`);
      }
    }
  }
}
