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

  /** The time that signatures vouch for: no gateway can move it forward, and nothing moves it back. */
  get floor(): number {
    return this.#floor;
  }

  told(time: number): void {
    this.#anchor = { time, at: this.#monotonic() };
  }

  /**
   * A verified order was issued at this time. The floor never passes the gateway's time: otherwise, after a
   * server's clock ran ahead for a while, its later orders would count as expired.
   */
  verified(issuedAt: number): void {
    this.#floor = Math.max(this.#floor, Math.min(issuedAt, this.#told()));
  }

  /** Milliseconds since the epoch; the floor until a gateway has reported the time. */
  now(): number {
    return Math.max(this.#told(), this.#floor);
  }

  #told(): number {
    return this.#anchor ? this.#anchor.time + Math.floor(this.#monotonic() - this.#anchor.at) : 0;
  }
}
