/** Devices whose entry in the directory is not signed: refused, counted, and shown with the worker's load. */
import type { Logger } from 'pino';
import type { Metrics } from '../metrics.ts';

/** How long operators see it, and the shortest time between two log lines, milliseconds. */
const TOLD_MS = 60 * 60_000;
const LOGGED_EVERY_MS = 60_000;

export class UnsignedEntries {
  readonly #metrics: Metrics;
  readonly #log: Logger;
  #last: { device: string; at: number } | null = null;
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(metrics: Metrics, log: Logger) {
    this.#metrics = metrics;
    this.#log = log;
  }

  refused(device: string): void {
    const at = performance.now();
    this.#metrics.membershipsRefused++;
    this.#last = { device, at };
    if (at - this.#loggedAt < LOGGED_EVERY_MS) return;
    this.#loggedAt = at;
    this.#log.error(
      { deviceId: device },
      'the entry of a device is not what the administration server signed',
    );
  }

  warnings(): string[] {
    if (this.#last === null || performance.now() - this.#last.at > TOLD_MS) return [];
    const { membershipsRefused } = this.#metrics;
    return [
      `${membershipsRefused} admissions were refused because somebody else wrote to the directory, ` +
        `the last of device ${this.#last.device}`,
    ];
  }
}
