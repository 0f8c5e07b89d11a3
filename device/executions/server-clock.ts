/**
 * The administration server's time as far as a device can know it (S-5): what the newest `welcome` or `beat`
 * said, carried on by the monotonic clock, and never earlier than the floor. The device's own wall clock
 * plays no part, so setting it neither revives an expired order nor kills a fresh one.
 */
export class ServerClock {
  #floor: number;
  #anchor: { time: number; at: number } | null = null;
  readonly #monotonic: () => number;

  constructor(floor: number, monotonic: () => number = () => performance.now()) {
    this.#floor = floor;
    this.#monotonic = monotonic;
  }

  /** The time that a signature vouches for: no gateway can move it forward, and nothing moves it back. */
  get floor(): number {
    return this.#floor;
  }

  told(time: number): void {
    this.#anchor = { time, at: this.#monotonic() };
  }

  /**
   * An order that verified was issued then. The floor follows no further than what the gateway says the time
   * is: else a server whose clock was ahead for a while would have its later orders taken for expired.
   */
  verified(issuedAt: number): void {
    this.#floor = Math.max(this.#floor, Math.min(issuedAt, this.#told()));
  }

  /** Milliseconds since the epoch; the floor as long as no gateway has told the time. */
  now(): number {
    return Math.max(this.#told(), this.#floor);
  }

  #told(): number {
    return this.#anchor ? this.#anchor.time + Math.floor(this.#monotonic() - this.#anchor.at) : 0;
  }
}
