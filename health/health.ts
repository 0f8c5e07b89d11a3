/**
 * The health model that gateways and administration servers share. A **dependency** is something a program
 * needs and does not control: without it `ready` fails at once. A **loop** is work that the program repeats
 * by itself: only a restart fixes a stalled loop, so `live` fails, slowly.
 */
export interface DependencyReport {
  ok: boolean;
  /** When `ok` last changed, ISO 8601. */
  since: string;
  /** Why it is missing. */
  reason?: string;
  /** Its parts, where they are reported one by one. */
  parts?: (DependencyReport & { name: string; server: string })[];
  /** It works, but something about it should be changed. */
  warnings?: string[];
}

/** Remembers when its state last changed. */
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

/** Seconds for which it has been missing; 0 while it is there. */
export function lostSeconds({ ok, since }: DependencyReport): number {
  return ok ? 0 : Math.max(0, Date.now() - Date.parse(since)) / 1_000;
}

const LOOK_MS = 1_000;

interface Watched {
  rounds: () => number;
  idle: () => boolean;
  seen: number;
  /** Checks since its last round. */
  looks: number;
  state: Dependency;
}

/**
 * Checks once a second whether each loop has completed a round since the last check. It counts checks, not
 * milliseconds: a process that was stopped, or a machine that slept, makes no loop look stuck.
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
   * `rounds` grows with each completed round, whether or not it achieved anything; `idle`: there is nothing
   * to do.
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

  /** Number of stuck loops. */
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
        loop.state.bad(`has not completed a round for ${this.#stuckAfter} s`);
      }
    }
  }
}
