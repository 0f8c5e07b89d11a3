/**
 * What heartbeats have to tell of how far gateways are (PROTOCOL.md, B-1): once after a change, and again now
 * and then, as what was said may have been lost on its way.
 */
import type { MeasuredGateway } from '../../protocol/index.ts';

/** A session that ends so soon after it was said may have taken it along, milliseconds. */
const DOUBTFUL_MS = 60_000;
const REPEAT_MS = 86_400_000;

export class MeasureNews {
  readonly #now: () => number;
  #pending: MeasuredGateway[] | null = null;
  #said: MeasuredGateway[] | null = null;
  #saidAt = Number.NEGATIVE_INFINITY;

  /** `now`: monotonic, milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether something is to be said soon, and not only with the next beat. */
  get urgent(): boolean {
    return this.#pending !== null && this.#pending !== this.#said;
  }

  changed(measured: MeasuredGateway[]): void {
    this.#pending = measured;
  }

  /** After a round that changed nothing: says it again if that is long ago. */
  unchanged(measured: MeasuredGateway[]): void {
    if (measured.length === 0 || this.#now() - this.#saidAt < REPEAT_MS) return;
    this.#said = measured;
    this.#pending ??= measured;
  }

  /** For the beat that is now sent. */
  take(): MeasuredGateway[] | undefined {
    const measured = this.#pending ?? undefined;
    if (measured) {
      this.#said = measured;
      this.#saidAt = this.#now();
      this.#pending = null;
    }
    return measured;
  }

  sessionEnded(): void {
    if (this.#said && this.#now() - this.#saidAt < DOUBTFUL_MS) this.#pending ??= this.#said;
  }
}
