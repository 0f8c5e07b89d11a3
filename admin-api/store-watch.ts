import type { Logger } from 'pino';
import { Dependency } from '../bus/vital-signs.ts';
import { type Store, StoreUnavailable } from './store/store.ts';

const LOOK_MS = 1_000;
/** A database that is merely busy must not be taken for one that is away. */
const PATIENCE_MS = 5_000;
const PROBE = 'store-probe';

/**
 * Whether the database answers, looked at once a second, and whether it can be written, looked at once something failed. Requests
 * are refused at once while it does not answer, and those that wait for it when it is found away are not left
 * waiting: whether what they asked for was done is not known then, as with any connection that breaks.
 */
export class StoreWatch {
  readonly dependency = new Dependency();
  readonly #store: Pick<Store, 'meta'>;
  readonly #log: Logger;
  /** Refuse the requests that wait for the database. */
  readonly #waiting = new Set<(error: StoreUnavailable) => void>();
  #answers = false;
  #suspect = false;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(store: Pick<Store, 'meta'>, log: Logger) {
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

  /** Asks the database, unless that is under way; resolves when it is decided. */
  look(): Promise<void> {
    this.#looking ??= this.#ask().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Somebody's work failed with `StoreUnavailable`: the next look is closer. */
  failed(): void {
    this.#suspect = true;
    void this.look();
  }

  /** Throws `StoreUnavailable` while the database does not answer. */
  assertAvailable(): void {
    if (!this.#answers) throw this.#error();
  }

  /** What `work` comes to, or `StoreUnavailable` as soon as the database is found away. */
  async guard<T>(work: () => Promise<T>): Promise<T> {
    this.assertAvailable();
    let refuse: (error: StoreUnavailable) => void = () => {};
    const lost = new Promise<never>((_, reject) => {
      refuse = reject;
      this.#waiting.add(refuse);
    });
    try {
      return await Promise.race([work(), lost]);
    } catch (error) {
      if (error instanceof StoreUnavailable) this.failed();
      throw error;
    } finally {
      this.#waiting.delete(refuse);
    }
  }

  #error(): StoreUnavailable {
    return new StoreUnavailable(`the store does not answer: ${this.dependency.reason}`);
  }

  async #ask(): Promise<void> {
    let answers = false;
    try {
      await inTime(this.#store.meta.get(PROBE));
      answers = true;
      this.#answers = true;
      if (this.#suspect) await inTime(this.#store.meta.set(PROBE, String(Date.now())));
      this.#suspect = false;
      if (!this.dependency.ok) this.#log.info('the store answers');
      this.dependency.good();
    } catch (error) {
      this.#answers = answers;
      if (this.dependency.ok) this.#log.warn({ err: error }, 'the store does not answer');
      this.dependency.bad(error instanceof Error ? error.message : String(error));
      if (!this.#answers) for (const refuse of this.#waiting) refuse(this.#error());
    }
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
