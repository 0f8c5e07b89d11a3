/** When the devices that lost their gateway returned, as shares of all. */

export const SHARES = [50, 90, 99, 100] as const;
type Share = (typeof SHARES)[number];

/** Seconds after the loss, by share in percent; `null` if not reached. */
export type Times = Record<Share, number | null>;

export class Returns {
  readonly #total: number;
  readonly #at = new Map<string, number>();
  readonly #beganAt = performance.now();

  constructor(total: number) {
    this.#total = total;
  }

  /** Only the first return of a device counts. */
  note(device: string): void {
    if (!this.#at.has(device)) this.#at.set(device, performance.now() - this.#beganAt);
  }

  get count(): number {
    return this.#at.size;
  }

  get complete(): boolean {
    return this.#at.size >= this.#total;
  }

  times(): Times {
    const sorted = [...this.#at.values()].sort((a, b) => a - b);
    const at = (share: Share): number | null => {
      const ms = sorted[Math.ceil((this.#total * share) / 100) - 1];
      return ms === undefined ? null : Math.round(ms / 10) / 100;
    };
    return { 50: at(50), 90: at(90), 99: at(99), 100: at(100) };
  }
}
