/**
 * Keeps SQLite's write-ahead log short. By itself SQLite copies the log back inside a commit, and everybody
 * waits. Here a thread copies it while this connection goes on writing. This connection then copies the
 * little that was written meanwhile. Only when everything is copied does SQLite write the log from its start
 * again.
 */
import { Worker } from 'node:worker_threads';
import type { DatabaseSyncInstance } from '@photostructure/sqlite';

/** How often the length of the log is checked. */
const COMMITS_BETWEEN_LOOKS = 32;

export class Checkpoints {
  readonly #database: DatabaseSyncInstance;
  readonly #file: string;
  readonly #pages: number;
  #commits = 0;
  #thread: Worker | undefined;
  #state: 'waiting' | 'copying' | 'copied' | 'given-up' = 'waiting';

  /** `pages`: the length of the log at which it is copied. */
  constructor(database: DatabaseSyncInstance, file: string, pages: number) {
    this.#database = database;
    this.#file = file;
    this.#pages = pages;
  }

  /**
   * Call it after each commit, outside a transaction. Never throws: commits stay valid even if a full disk
   * leaves no room for copying.
   */
  committed(): void {
    try {
      if (this.#state === 'copied') this.#copyRest();
      else if (this.#state === 'waiting' && ++this.#commits % COMMITS_BETWEEN_LOOKS === 0) this.#look();
    } catch {
      // The pages stay in the log, and copying is tried again. If commits fail, SQLite reports why.
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
    // The thread did not start: SQLite's own checkpoints continue, with a longer log.
    thread.on('error', () => {
      this.#state = 'given-up';
    });
    thread.unref();
    return thread;
  }
}
