/**
 * Releases the presence of ended sessions in batches. While the bus is unavailable they are kept, up to a
 * bound.
 */
import type { Logger } from 'pino';
import type { Presence } from '../../bus/bus.ts';

const DELAY_MS = 20;
const RETRY_MS = 1_000;
const BATCH = 1_000;
/** Beyond it the oldest are forgotten: deliveries to them are reported as `undelivered` instead. */
const LIMIT = 200_000;

export interface PresenceReleasesParts {
  presence: Presence;
  incarnation: () => string | null;
  log: Logger;
}

export class PresenceReleases {
  readonly #parts: PresenceReleasesParts;
  #waiting: { device: string; session: number }[] = [];
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;

  constructor(parts: PresenceReleasesParts) {
    this.#parts = parts;
  }

  add(device: string, session: number): void {
    if (this.#waiting.length >= LIMIT) this.#waiting.splice(0, BATCH);
    this.#waiting.push({ device, session });
    this.#schedule(DELAY_MS);
  }

  /** Releases waiting sessions; resolves when that is done or failed. */
  async flush(): Promise<void> {
    await this.#running;
    await this.#release();
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(delayMs: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#running ??= this.#release().finally(() => {
        this.#running = null;
      });
    }, delayMs);
  }

  async #release(): Promise<void> {
    while (this.#waiting.length > 0) {
      const incarnation = this.#parts.incarnation();
      if (incarnation === null) {
        // Without a lease this worker holds nothing: its former entries belong to the dead lease.
        this.#waiting = [];
        return;
      }
      const batch = this.#waiting.splice(0, BATCH);
      try {
        await this.#parts.presence.release(incarnation, batch);
      } catch (error) {
        this.#parts.log.debug({ err: error, waiting: batch.length }, 'presence not released yet');
        this.#waiting.unshift(...batch);
        this.#schedule(RETRY_MS);
        return;
      }
    }
  }
}
