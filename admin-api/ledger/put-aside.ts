/**
 * Puts aside receipts that the ledger cannot apply, so that a person can look at them; counts them, and
 * reports them in health.
 */
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import type { DependencyReport } from '../../health/health.ts';
import type { AdminMetrics } from '../metrics.ts';

/** Health reports the last one for this long. */
const TOLD_MS = 60 * 60_000;
/** A fault that repeats must not fill the log. */
const LOGGED_EVERY_MS = 60_000;

export class PutAside {
  readonly #parts: { bus: Pick<Bus, 'receipts'>; metrics: AdminMetrics; log: Logger; now: () => number };
  readonly #since: string;
  #last: { at: number; why: string } | null = null;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(parts: {
    bus: Pick<Bus, 'receipts'>;
    metrics: AdminMetrics;
    log: Logger;
    now: () => number;
  }) {
    this.#parts = parts;
    this.#since = new Date(parts.now()).toISOString();
  }

  /** Rejects with `BusUnavailable`: the batch then comes again as a whole. */
  async take(wrong: readonly { receipt: unknown; why: string }[]): Promise<void> {
    const [first] = wrong;
    if (!first) return;
    const { bus, metrics, log, now } = this.#parts;
    await bus.receipts.putAside(wrong);
    metrics.receiptsPutAside.inc(wrong.length);
    this.#count += wrong.length;
    this.#last = { at: now(), why: first.why };
    if (performance.now() - this.#loggedAt < LOGGED_EVERY_MS) return;
    this.#loggedAt = performance.now();
    log.error({ count: wrong.length, why: first.why }, 'receipts could not be applied and were put aside');
  }

  report(): DependencyReport {
    const told = this.#last && this.#parts.now() - this.#last.at < TOLD_MS;
    const warning =
      `${this.#count} receipts could not be applied and were put aside, the last because of ` +
      `${this.#last?.why}`;
    return { ok: true, since: this.#since, ...(told && { warnings: [warning] }) };
  }
}
