/**
 * Keeps SQLite's write-ahead log short. A thread copies it back to the database while this connection goes on
 * writing: left to itself SQLite does so inside of a commit, and everybody waits. What was written meanwhile
 * is copied here, which is little; only when all of it is copied does SQLite write the log from its start.
 */
import { Worker } from 'node:worker_threads';
import type { DatabaseSyncInstance } from '@photostructure/sqlite';

/** So often the length of the log is looked at. */
const COMMITS_BETWEEN_LOOKS = 32;

export class Checkpoints {
  readonly #database: DatabaseSyncInstance;
  readonly #file: string;
  readonly #pages: number;
  #commits = 0;
  #thread: Worker | undefined;
  #state: 'waiting' | 'copying' | 'copied' | 'given-up' = 'waiting';

  /** `pages`: how long the log gets before it is copied. */
  constructor(database: DatabaseSyncInstance, file: string, pages: number) {
    this.#database = database;
    this.#file = file;
    this.#pages = pages;
  }

  /**
   * To be called after each commit, outside of a transaction. Never throws: what was committed is, also when
   * a full disk has no room for it.
   */
  committed(): void {
    try {
      if (this.#state === 'copied') this.#copyRest();
      else if (this.#state === 'waiting' && ++this.#commits % COMMITS_BETWEEN_LOOKS === 0) this.#look();
    } catch {
      // It stays in the log, and is tried again; SQLite says what is wrong when a commit fails for it.
    }
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    if (!thread || this.#state === 'given-up') return;
    const ended = new Promise((resolve) => thread.once('exit', resolve));
    thread.ref();
    thread.postMessage('close');
    await ended;
  }

  #copyRest(): void {
    this.#state = 'waiting';
    this.#database.exec('pragma wal_checkpoint(passive)');
  }

  #look(): void {
    const { log } = this.#database.prepare('pragma wal_checkpoint(noop)').get() as { log: number };
    if (log < this.#pages) return;
    this.#state = 'copying';
    this.#thread ??= this.#startThread();
    this.#thread.postMessage('checkpoint');
  }

  #startThread(): Worker {
    const thread = new Worker(new URL('./checkpoint-thread.js', import.meta.url), {
      workerData: this.#file,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 },
    });
    thread.on('message', () => {
      this.#state = 'copied';
    });
    // It did not start: SQLite's own checkpoints go on, at a longer log.
    thread.on('error', () => {
      this.#state = 'given-up';
    });
    thread.unref();
    return thread;
  }
}
