/**
 * What SQLite would do about its log inside of commits, done beside the event loop: bringing it to the disk,
 * and copying it back.
 */
import { closeSync, fdatasync, openSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Checkpoints } from './checkpoints.ts';

const sync = promisify(fdatasync);

/**
 * SQLite appends whole transactions to the log (sqlite.org/wal.html), so what was committed survives a power
 * cut as soon as that file is synced. One sync at a time, for everything committed until it begins.
 */
export class WriteAheadLog {
  readonly #file: string;
  readonly #checkpoints: Checkpoints;
  #handle: number | undefined;
  #committed = 0;
  #synced = 0;
  #running: Promise<void> | undefined;
  #failure: LogNotSynced | undefined;

  /** `file`: the log's; it is there from the first commit on. */
  constructor(file: string, checkpoints: Checkpoints) {
    this.#file = file;
    this.#checkpoints = checkpoints;
  }

  /** Something was committed. */
  committed(): void {
    this.#committed++;
    this.#checkpoints.committed();
  }

  /**
   * Resolves when everything that is committed now is on the disk. After a sync that failed nobody knows what
   * is there: rejects with `LogNotSynced` from then on.
   */
  async onDisk(): Promise<void> {
    const wanted = this.#committed;
    while (this.#synced < wanted) {
      this.#running ??= this.#sync();
      await this.#running;
    }
  }

  async close(): Promise<void> {
    // Until nobody needs another sync of a file that is closed. What failed was told to those who wait.
    await this.onDisk().catch(() => {});
    if (this.#handle !== undefined) closeSync(this.#handle);
    this.#handle = undefined;
    await this.#checkpoints.close();
  }

  async #sync(): Promise<void> {
    try {
      if (this.#failure) throw this.#failure;
      const upTo = this.#committed;
      this.#handle ??= openSync(this.#file, 'r+');
      await sync(this.#handle);
      this.#synced = upTo;
    } catch (error) {
      this.#failure ??= new LogNotSynced(this.#file, error);
      throw this.#failure;
    } finally {
      this.#running = undefined;
    }
  }
}

export class LogNotSynced extends Error {
  override readonly name = 'LogNotSynced';
  constructor(file: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`${file} could not be synced (${why}): mend the disk, then start again`, { cause });
  }
}
