/** Devices that are counted at a time. */
const COUNTED_MAX = 200_000;

/** How often this server does something for one device; what is beyond that is asked for again. */
export class DeviceLimit {
  readonly #most: number;
  readonly #windowMs: number;
  #counts = new Map<string, number>();
  #since = performance.now();

  /** `most`: within `windowMs`, milliseconds. */
  constructor(most: number, windowMs: number) {
    this.#most = most;
    this.#windowMs = windowMs;
  }

  /** Milliseconds until the device may again, 0: it may now, and that counts. */
  take(device: string): number {
    const now = performance.now();
    if (now - this.#since > this.#windowMs || this.#counts.size >= COUNTED_MAX) {
      this.#counts = new Map();
      this.#since = now;
    }
    const count = this.#counts.get(device) ?? 0;
    if (count >= this.#most) return this.#since + this.#windowMs - now;
    this.#counts.set(device, count + 1);
    return 0;
  }
}
