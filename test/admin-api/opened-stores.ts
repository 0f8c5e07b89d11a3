/** Stores on PostgreSQL databases, stopped together after each test. */
import type { Logger } from 'pino';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Store } from '../../admin-api/store/store.ts';

export class OpenedStores {
  readonly #urls = new Map<Store, string>();
  readonly #poolSize: number;
  readonly #log: Logger;

  constructor(poolSize: number, log: Logger) {
    this.#poolSize = poolSize;
    this.#log = log;
  }

  open = async (databaseUrl: string): Promise<Store> => {
    const store = openStore({ databaseUrl, poolSize: this.#poolSize, checkNesting: true, log: this.#log });
    this.add(store, databaseUrl);
    await store.start();
    return store;
  };

  /** One that was not opened here is stopped as well. */
  add(store: Store, databaseUrl: string): void {
    this.#urls.set(store, databaseUrl);
  }

  /** Another one on the same database. */
  second = (store: Store): Promise<Store> => this.open(this.#urls.get(store) as string);

  stop = async (): Promise<void> => {
    for (const store of this.#urls.keys()) await store.stop();
    this.#urls.clear();
  };
}
