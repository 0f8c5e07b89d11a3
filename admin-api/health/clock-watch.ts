import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import { clockReport, clockWarnings } from '../../bus/clock-check.ts';
import { OneAtATime } from '../../bus/one-at-a-time.ts';
import type { DependencyReport } from '../../health/health.ts';
import type { Store } from '../store/store.ts';

const LOOK_MS = 10_000;
/** An answer that took longer is too imprecise. */
const SLOW_MS = 1_000;

export type ClockName = 'server' | 'database';

/** How far the clocks of this server and of the database differ from the shared clock. */
export class ClockWatch {
  readonly #store: Pick<Store, 'meta'>;
  readonly #bus: Pick<Bus, 'clock'>;
  readonly #log: Logger;
  readonly #looks: OneAtATime;
  readonly #since = new Date();
  #databaseAheadMs: number | null = null;
  #told = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: { store: Pick<Store, 'meta'>; bus: Pick<Bus, 'clock'>; log: Logger }) {
    this.#store = parts.store;
    this.#bus = parts.bus;
    this.#log = parts.log;
    this.#looks = new OneAtATime(
      () => this.#look(),
      (error) => this.#log.debug({ err: error }, 'the database did not report its time'),
    );
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
    void this.look();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looks.settled();
  }

  look(): Promise<void> {
    return this.#looks.ask();
  }

  /** Milliseconds; `null` if unknown, or if it has no clock of its own. */
  aheadMs(): [ClockName, number | null][] {
    return [
      ['server', this.#bus.clock.aheadMs()],
      ['database', this.#databaseAheadMs],
    ];
  }

  report(): DependencyReport {
    return clockReport(this.#byOwner(), this.#since);
  }

  #byOwner(): Map<string, number | null> {
    const [[, server], [, database]] = this.aheadMs() as [
      [ClockName, number | null],
      [ClockName, number | null],
    ];
    return new Map([
      ['this administration server', server],
      ['the database', database],
    ]);
  }

  async #look(): Promise<void> {
    const { clock } = this.#bus;
    const askedAt = performance.now();
    const theirs = await this.#store.meta.clock();
    const tookMs = performance.now() - askedAt;
    if (theirs === null) this.#databaseAheadMs = null;
    else if (tookMs <= SLOW_MS) this.#databaseAheadMs = theirs - (clock.now() - tookMs / 2);
    const warnings = clockWarnings(this.#byOwner());
    // The figures change all the time, so it logs again only when another clock is off.
    const about = warnings.map((warning) => warning.replace(/[\d.]+ s/, '')).join();
    if (about === this.#told) return;
    this.#told = about;
    if (warnings.length > 0) this.#log.warn({ warnings }, 'clocks are apart');
    else this.#log.info('clocks agree again');
  }
}
