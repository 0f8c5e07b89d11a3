/**
 * Allows one administration server at a time on a SQLite database, because a second one would make its
 * in-memory state wrong. SQLite holds the operating system's lock on a file beside the database. The lock
 * ends with the process, however that ends, and also works between containers that share the folder.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';

const SQLITE_BUSY = 5;

export class DatabaseInUse extends Error {
  override readonly name = 'DatabaseInUse';
}

export class DatabaseLock {
  readonly #folder: string;
  #held: DatabaseSyncInstance | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get #ownerFile(): string {
    return path.join(this.#folder, 'pushpoint.lock-owner');
  }

  /** Throws `DatabaseInUse`, which names the holder. */
  take(): void {
    if (this.#held) return;
    const file = new DatabaseSync(path.join(this.#folder, 'pushpoint.lock'));
    try {
      file.exec('pragma journal_mode = memory');
      file.exec('begin exclusive');
    } catch (error) {
      file.close();
      if (((error as { sqliteExtendedCode?: number }).sqliteExtendedCode ?? 0) % 256 !== SQLITE_BUSY)
        throw error;
      throw new DatabaseInUse(
        `${this.#folder} is in use by another administration server (${this.#owner()}): stop it, use ` +
          'another --data-dir, or let both use one PostgreSQL (--database-url)',
      );
    }
    this.#held = file;
    writeFileSync(this.#ownerFile, `process ${process.pid} on ${os.hostname()}`, { mode: 0o600 });
  }

  /** Idempotent. */
  release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (!held) return;
    rmSync(this.#ownerFile, { force: true });
    held.close();
  }

  /** A description for people; only the lock itself decides. */
  #owner(): string {
    try {
      return readFileSync(this.#ownerFile, 'utf8');
    } catch {
      return 'it is just starting';
    }
  }
}
