/** Syncs and copies back SQLite's write-ahead log outside the event loop; SQLite does it inside commits. */
import { closeSync, fdatasync, openSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Checkpoints } from './checkpoints.ts';

const sync = promisify(fdatasync);

/**
 * SQLite appends whole transactions to the log (sqlite.org/wal.html), so commits survive a power cut once
 * that file is synced. One sync runs at a time, and covers all commits made before it began.
 */
export class WriteAheadLog {
  readonly #file: string;
  readonly #checkpoints: Checkpoints;
  #handle: number | undefined;
  #committed = 0;
  #synced = 0;
  #running: Promise<void> | undefined;
  #failure: LogNotSynced | undefined;

  /** `file`: the path of the log, which exists from the first commit on. */
  constructor(file: string, checkpoints: Checkpoints) {
    this.#file = file;
    this.#checkpoints = checkpoints;
  }

  /** Takes note of a commit. */
  committed(): void {
    this.#committed++;
    this.#checkpoints.committed();
  }

  /**
   * Resolves when everything committed so far is on the disk. Once a sync has failed, nobody knows what is on
   * the disk: from then on it rejects with `LogNotSynced`.
   */
  async onDisk(): Promise<void> {
    const wanted = this.#committed;
    while (this.#synced < wanted) {
      this.#running ??= this.#sync();
      await this.#running;
    }
  }

  async close(): Promise<void> {
    // Waits until nobody needs another sync of the file. Those who wait have received any failure.
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
    super(`${file} could not be synced (${why}): repair the disk, then start again`, { cause });
  }
}
