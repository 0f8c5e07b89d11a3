/** How often something is done in all: a bucket that fills up again. */
export class RateLimit {
  readonly #perSecond: number;
  readonly #now: () => number;
  #tokens: number;
  #filledAt: number;

  /** `now`: milliseconds. */
  constructor(perSecond: number, now: () => number) {
    this.#perSecond = perSecond;
    this.#now = now;
    this.#tokens = perSecond;
    this.#filledAt = now();
  }

  /** Whether it may be done now; then that counts. */
  take(): boolean {
    const now = this.#now();
    const refilled = this.#tokens + ((now - this.#filledAt) * this.#perSecond) / 1_000;
    this.#tokens = Math.min(this.#perSecond, Math.max(0, refilled));
    this.#filledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
