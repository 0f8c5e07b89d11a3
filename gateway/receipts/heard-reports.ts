/**
 * Tells, on the worker's lease, up to when its receipts have been appended: nothing that a device said in
 * time is overtaken by a clock of the administration server.
 */
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';

/** Together with what the ledger takes, well below the 2 s within which it ends what is due. */
const EVERY_MS = 500;

export interface HeardReportsParts {
  bus: Pick<Bus, 'leases' | 'clock'>;
  heardUpTo(now: number): number;
  /** Of the lease; `null` before the first. */
  incarnation(): string | null;
  log: Logger;
}

export class HeardReports {
  readonly #parts: HeardReportsParts;
  #timer: NodeJS.Timeout | null = null;
  #telling = false;

  constructor(parts: HeardReportsParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.tell(), EVERY_MS);
    void this.tell();
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** While one report is under way another has nothing to add: the next comes soon. Never rejects. */
  async tell(): Promise<void> {
    const { bus, heardUpTo, incarnation, log } = this.#parts;
    const lease = incarnation();
    if (this.#telling || lease === null) return;
    this.#telling = true;
    try {
      await bus.leases.heard(lease, heardUpTo(bus.clock.now()));
    } catch (error) {
      log.debug({ err: error }, 'not told up to when receipts were appended');
    } finally {
      this.#telling = false;
    }
  }
}
