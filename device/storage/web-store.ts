import {
  type DeviceState,
  type DeviceStore,
  type JournalEntry,
  JournalView,
  type Marks,
  type StoredDevice,
} from './store.ts';
import { lockStore } from './web-lock.ts';

/* The part of IndexedDB that is used here; the compiler's browser library is not loaded for Node. */
interface Request<T> {
  result: T;
  error: unknown;
  onsuccess: (() => void) | null;
  onerror: (() => void) | null;
}
interface ObjectStore {
  put(value: unknown, key: string): Request<unknown>;
  delete(key: string): Request<unknown>;
  get(key: string): Request<unknown>;
  getAll(): Request<unknown[]>;
}
interface Transaction {
  objectStore(name: string): ObjectStore;
  error: unknown;
  oncomplete: (() => void) | null;
  onabort: (() => void) | null;
}
interface Database {
  createObjectStore(name: string): unknown;
  transaction(names: string[], mode: string, options?: { durability: string }): Transaction;
  close(): void;
}
interface Factory {
  open(name: string, version: number): Request<Database> & { onupgradeneeded: (() => void) | null };
}

const STATE = 'state';
const EXECUTIONS = 'executions';

function answer<T>(request: Request<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completed(transaction: Transaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

export interface WebStoreOptions {
  /** Waits until no other tab has the database open, instead of failing; `signal` ends the wait. */
  wait?: boolean;
  signal?: AbortSignal;
  /** `false`: the program itself ensures that only one tab or worker has it open at a time. */
  lock?: boolean;
  factory?: Factory;
}

/**
 * A browser's IndexedDB database `name`. The private key is readable by every script of the same origin. One
 * tab or worker at a time: two would be one device twice, and displace each other (H-9).
 */
export class WebStore implements DeviceStore {
  readonly #database: Database;
  readonly #release: () => void;
  readonly #view = new JournalView();

  private constructor(database: Database, release: () => void) {
    this.#database = database;
    this.#release = release;
  }

  /** Throws `StoreInUse`, or an error that says so if the browser has no Web Locks. */
  static async open(name = 'pushpoint', options: WebStoreOptions = {}): Promise<WebStore> {
    const factory = options.factory ?? (globalThis as unknown as { indexedDB: Factory }).indexedDB;
    const release = options.lock === false ? () => {} : await lockStore(name, options);
    try {
      const request = factory.open(name, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(STATE);
        request.result.createObjectStore(EXECUTIONS);
      };
      return new WebStore(await answer(request), release);
    } catch (error) {
      release();
      throw error;
    }
  }

  async load(): Promise<StoredDevice> {
    const transaction = this.#database.transaction([STATE, EXECUTIONS], 'readonly');
    const [state, marks, records] = await Promise.all([
      answer(transaction.objectStore(STATE).get('device')),
      answer(transaction.objectStore(STATE).get('marks')),
      answer(transaction.objectStore(EXECUTIONS).getAll()),
    ]);
    this.#view.apply({ marks: (marks as Marks | undefined) ?? { issuedAt: 0 } });
    for (const put of records) this.#view.apply({ put } as JournalEntry);
    return this.#view.stored((state as DeviceState | undefined) ?? { gateways: [] });
  }

  async saveState(state: DeviceState): Promise<void> {
    const transaction = this.#database.transaction([STATE], 'readwrite', { durability: 'strict' });
    transaction.objectStore(STATE).put(state, 'device');
    await completed(transaction);
  }

  async append(entries: JournalEntry[]): Promise<void> {
    const transaction = this.#database.transaction([STATE, EXECUTIONS], 'readwrite', {
      durability: 'strict',
    });
    const executions = transaction.objectStore(EXECUTIONS);
    for (const entry of entries) {
      this.#view.apply(entry);
      if ('put' in entry) executions.put(entry.put, entry.put.id);
      else if ('forget' in entry) executions.delete(entry.forget);
    }
    transaction.objectStore(STATE).put({ ...this.#view.marks }, 'marks');
    await completed(transaction);
  }

  async close(): Promise<void> {
    this.#database.close();
    this.#release();
  }
}
