import type { BusClock } from './bus.ts';

/** Largest drift of the monotonic clock, as a fraction of the elapsed time. */
const DRIFT = 0.0005;
/**
 * A correction smaller than this never turns the clock back: the clock pauses until the time has caught up.
 */
const SMALL_MS = 1_000;

interface Measurement {
  /** Their time minus the monotonic clock. */
  aheadOfMonotonic: number;
  errorMs: number;
  at: number;
}

/**
 * Another machine's clock, estimated from occasional queries. The best answer counts until a better one
 * arrives, or one that contradicts it: the clock was set, or another server answers now.
 */
export class MeasuredClock implements BusClock {
  #best: Measurement | null = null;
  #last = 0;

  /** They said `theirs` at some moment between `askedAt` and `answeredAt` of the monotonic clock. */
  measured(theirs: number, askedAt: number, answeredAt: number): void {
    const next = {
      aheadOfMonotonic: theirs - (askedAt + answeredAt) / 2,
      errorMs: (answeredAt - askedAt) / 2 + 1,
      at: answeredAt,
    };
    const best = this.#best;
    if (best === null) {
      this.#best = next;
      return;
    }
    const errorNow = best.errorMs + (answeredAt - best.at) * DRIFT;
    const apart = Math.abs(next.aheadOfMonotonic - best.aheadOfMonotonic);
    if (next.errorMs <= errorNow || apart > errorNow + next.errorMs) this.#best = next;
  }

  now(): number {
    const best = this.#best;
    if (best === null) return Date.now();
    const now = Math.floor(performance.now() + best.aheadOfMonotonic);
    if (now < this.#last && this.#last - now < SMALL_MS) return this.#last;
    this.#last = now;
    return now;
  }

  aheadMs(): number | null {
    return this.#best === null ? null : Date.now() - this.now();
  }
}
