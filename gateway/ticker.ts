/**
 * The worker's coarse clock: one timer for the time limits of all connections. It counts its own ticks, so a
 * process that was stopped for a while does not find every device silent for as long.
 */
export class Ticker {
  readonly periodMs: number;
  readonly #onTick: () => void;
  #timer: NodeJS.Timeout | null = null;
  #now = 0;

  constructor(periodMs: number, onTick: () => void) {
    this.periodMs = periodMs;
    this.#onTick = onTick;
  }

  /** Ticks since the start. */
  get now(): number {
    return this.#now;
  }

  /** As many ticks as cover `ms`. */
  ticks(ms: number): number {
    return Math.max(1, Math.ceil(ms / this.periodMs));
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#now++;
      this.#onTick();
    }, this.periodMs);
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }
}
