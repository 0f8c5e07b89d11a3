/** Something may happen `atOnce` times, and once more every `everyMs` milliseconds. */
export class Allowance {
  readonly #atOnce: number;
  readonly #everyMs: number;
  readonly #now: () => number;
  #left: number;
  #filledAt: number;

  constructor({ atOnce, everyMs }: { atOnce: number; everyMs: number }, now: () => number) {
    this.#atOnce = atOnce;
    this.#everyMs = everyMs;
    this.#now = now;
    this.#left = atOnce;
    this.#filledAt = now();
  }

  /** Whether it may happen now, and counts it. */
  take(): boolean {
    const more = Math.floor((this.#now() - this.#filledAt) / this.#everyMs);
    if (more > 0) {
      this.#left = Math.min(this.#atOnce, this.#left + more);
      this.#filledAt += more * this.#everyMs;
    }
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }
}
