import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { Dependency } from '../../health/health.ts';
import { type Store, StoreUnavailable } from '../store/store.ts';

const LOOK_MS = 1_000;
/** A database that is only busy must not count as missing. */
const PATIENCE_MS = 5_000;
const PROBE = 'store-probe';

/** The size of the test write: large enough to need new space on the disk. */
const PROBE_BYTES = 48 * 1024;

/** What an operation needs from the database. */
export type StoreUse = 'read' | 'write';

interface Waiting {
  use: StoreUse;
  since: number;
  refuse: (error: StoreUnavailable) => void;
}

/**
 * Checks once a second whether the database answers, and, after a failure or a slow answer, whether it can be
 * written (a full disk, a standby, a lost synchronous replica). While it cannot do what a request needs,
 * requests are refused at once. Requests that already wait for it are refused as well: as with any broken
 * connection, nobody knows whether they took effect.
 */
export class StoreWatch {
  readonly dependency = new Dependency();
  readonly #store: Pick<Store, 'meta'>;
  readonly #log: Logger;
  readonly #waiting = new Set<Waiting>();
  readonly #works: Record<StoreUse, boolean> = { read: false, write: true };
  #suspect = false;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor({ store, log }: { store: Pick<Store, 'meta'>; log: Logger }) {
    this.#store = store;
    this.#log = log;
  }

  async start(): Promise<void> {
    await this.look();
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#looking;
  }

  /** Checks the database, unless a check is running; resolves with the check. */
  look(): Promise<void> {
    this.#looking ??= this.#ask().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** An operation failed with `StoreUnavailable`: the next check comes sooner. */
  failed(): void {
    this.#suspect = true;
    void this.look();
  }

  /** Throws `StoreUnavailable` while the database does not do that. */
  assertAvailable(use: StoreUse): void {
    if (!this.#works.read || !this.#works[use]) throw this.#error();
  }

  /**
   * The result of `work`, or `StoreUnavailable` as soon as the check finds that the database cannot do it.
   */
  async guard<T>(use: StoreUse, work: () => Promise<T>): Promise<T> {
    this.assertAvailable(use);
    let waiting: Waiting | undefined;
    const lost = new Promise<never>((_, refuse) => {
      waiting = { use, refuse, since: performance.now() };
      this.#waiting.add(waiting);
    });
    try {
      return await Promise.race([work(), lost]);
    } catch (error) {
      if (error instanceof StoreUnavailable) this.failed();
      throw error;
    } finally {
      this.#waiting.delete(waiting as Waiting);
    }
  }

  #error(): StoreUnavailable {
    return new StoreUnavailable(`the store does not answer: ${this.dependency.reason}`);
  }

  async #ask(): Promise<void> {
    const late = performance.now() - PATIENCE_MS;
    for (const { since } of this.#waiting) if (since < late) this.#suspect = true;
    // A failure during this check is for the next one.
    const suspect = this.#suspect;
    this.#suspect = false;
    const works = { read: false, write: false };
    try {
      await inTime(this.#store.meta.get(PROBE));
      works.read = true;
      this.#works.read = true;
      if (suspect) await this.#write();
      works.write = true;
      if (!this.dependency.ok) this.#log.info('the store answers');
      this.dependency.good();
    } catch (error) {
      if (this.dependency.ok) this.#log.warn({ err: error }, 'the store does not answer');
      this.dependency.bad(error instanceof Error ? error.message : String(error));
      // It must be written again before it counts as available.
      this.#suspect = true;
    }
    Object.assign(this.#works, works);
    for (const { use, refuse } of this.#waiting) if (!works[use]) refuse(this.#error());
  }

  /** Random, so that it cannot be compressed. */
  async #write(): Promise<void> {
    const probe = randomBytes(PROBE_BYTES).toString('base64');
    await inTime(this.#store.meta.set(PROBE, probe));
    await inTime(this.#store.meta.set(PROBE, ''));
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
