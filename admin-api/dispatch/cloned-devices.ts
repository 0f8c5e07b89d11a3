/** The devices that this server and its siblings know as cloned; commands for them may be held back. */
import type { Logger } from 'pino';
import type { DependencyReport } from '../../health/health.ts';
import type { Store } from '../store/store.ts';

const LOOK_MS = 5_000;
/** A warning names at most this many ids. */
const NAMED = 5;

export class ClonedDevices {
  readonly #store: Pick<Store, 'devices'>;
  readonly #log: Logger;
  readonly #hold: boolean;
  readonly #since = new Date().toISOString();
  #ids: Set<string> = new Set();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();

  /** `hold`: commands for cloned devices wait. */
  constructor({ store, log }: { store: Pick<Store, 'devices'>; log: Logger }, { hold }: { hold: boolean }) {
    this.#store = store;
    this.#log = log;
    this.#hold = hold;
  }

  get size(): number {
    return this.#ids.size;
  }

  async start(): Promise<void> {
    await this.#look();
    this.#timer = setInterval(() => {
      this.#looking = this.#look();
    }, LOOK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  add(device: string): void {
    this.#ids.add(device);
  }

  forget(device: string): void {
    this.#ids.delete(device);
  }

  /** Whether commands for this device wait. */
  withheld(device: string): boolean {
    return this.#hold && this.#ids.has(device);
  }

  report(): DependencyReport {
    if (this.#ids.size === 0) return { ok: true, since: this.#since };
    const some = [...this.#ids].slice(0, NAMED).join(', ');
    const more = this.#ids.size > NAMED ? ` and ${this.#ids.size - NAMED} more` : '';
    const warning = `two programs each use the key of ${some}${more}: pushpoint devices split or release`;
    return { ok: true, since: this.#since, warnings: [warning] };
  }

  async #look(): Promise<void> {
    try {
      this.#ids = new Set(await this.#store.devices.cloned());
    } catch (error) {
      this.#log.debug({ err: error }, 'cloned devices could not be read now');
    }
  }
}
