/**
 * Records on the worker's lease up to when its receipts have been appended: now and then unprompted, and at
 * once on request. The administration server therefore never times out an execution whose device reported in
 * time.
 */
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import { OneAtATime } from '../../bus/one-at-a-time.ts';

/** Interval of unprompted reports. The ledger asks when something is due and the report is too old. */
const EVERY_MS = 5_000;

export interface HeardReportsParts {
  bus: Pick<Bus, 'leases' | 'clock'>;
  heardUpTo(now: number): number;
  /** Of the lease; `null` before the first. */
  incarnation(): string | null;
  log: Logger;
}

export class HeardReports {
  readonly #parts: HeardReportsParts;
  readonly #reports: OneAtATime;
  readonly #listening: OneAtATime;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;
  /** The lease for which it listens to requests. */
  #heardFor: string | null = null;
  #unsubscribe: (() => Promise<void>) | null = null;

  constructor(parts: HeardReportsParts) {
    this.#parts = parts;
    const { log } = parts;
    this.#reports = new OneAtATime(
      () => this.#tell(),
      (error) => log.debug({ err: error }, 'cannot record up to when receipts were appended'),
    );
    this.#listening = new OneAtATime(
      () => this.#listen(),
      (error) => log.debug({ err: error }, 'cannot subscribe yet to requests for heard reports'),
    );
  }

  start(): void {
    this.#timer ??= setInterval(() => this.renewed(), EVERY_MS);
    this.renewed();
  }

  /** The lease may be another one. */
  renewed(): void {
    void this.#listening.ask();
    void this.#reports.ask();
  }

  /** Idempotent; never rejects. */
  async stop(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
    this.#stopped = true;
    await this.#listening.ask();
  }

  async #tell(): Promise<void> {
    const { bus, heardUpTo, incarnation } = this.#parts;
    const lease = incarnation();
    if (lease !== null) await bus.leases.heard(lease, heardUpTo(bus.clock.now()));
  }

  async #listen(): Promise<void> {
    const { bus, incarnation } = this.#parts;
    const lease = this.#stopped ? null : incarnation();
    if (lease === this.#heardFor) return;
    const unsubscribe = this.#unsubscribe;
    this.#unsubscribe = null;
    this.#heardFor = null;
    await unsubscribe?.();
    if (lease === null) return;
    this.#unsubscribe = await bus.leases.onAskHeard(lease, () => void this.#reports.ask());
    this.#heardFor = lease;
    // A request may have been sent before the subscription existed.
    void this.#reports.ask();
  }
}
