/**
 * The administration server's time as far as a device can know it (S-5): what the newest `welcome` or `beat` said, carried on by the
 * monotonic clock, and never earlier than the newest `issuedAt` that verified. The device's own wall clock plays no
 * part, so setting it neither revives an expired order nor kills a fresh one.
 */
export class ServerClock {
  #newestIssuedAt: number;
  #anchor: { time: number; at: number } | null = null;
  readonly #monotonic: () => number;

  constructor(newestIssuedAt: number, monotonic: () => number = () => performance.now()) {
    this.#newestIssuedAt = newestIssuedAt;
    this.#monotonic = monotonic;
  }

  /** Whether a gateway has told the time since the program started. */
  get known(): boolean {
    return this.#anchor !== null;
  }

  get newestIssuedAt(): number {
    return this.#newestIssuedAt;
  }

  told(time: number): void {
    this.#anchor = { time, at: this.#monotonic() };
  }

  verified(issuedAt: number): void {
    if (issuedAt > this.#newestIssuedAt) this.#newestIssuedAt = issuedAt;
  }

  /** Milliseconds since the epoch; only the newest `issuedAt` as long as no gateway has told the time. */
  now(): number {
    const told = this.#anchor ? this.#anchor.time + (this.#monotonic() - this.#anchor.at) : 0;
    return Math.max(told, this.#newestIssuedAt);
  }
}
