/**
 * Commits transactions together that wait for the one connection at the same time. If there are several, each
 * has its own savepoint, so one can fail without the others. Nobody is answered before the commit is on the
 * disk; meanwhile the next transactions run.
 */
import { type Kysely, sql } from 'kysely';
import type { Schema } from './schema.ts';
import type { Database } from './sql-dialect.ts';

/** Most transactions in one commit; each waits for all others. */
const GROUP_MAX = 64;

interface Waiting {
  work: (db: Database) => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #durable: () => Promise<void> | undefined;
  readonly #waiting: Waiting[] = [];
  #running = false;

  /** `durable`: resolves when all commits so far are on the disk. */
  constructor(durable: () => Promise<void> | undefined) {
    this.#durable = durable;
  }

  run<T>(db: Kysely<Schema>, work: (db: Database) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as (value: unknown) => void, reject });
      if (!this.#running) void this.#commitAll(db);
    });
  }

  async #commitAll(db: Kysely<Schema>): Promise<void> {
    this.#running = true;
    // Transactions of the same turn of the event loop join this commit.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) await this.#commit(db, this.#waiting.splice(0, GROUP_MAX));
    this.#running = false;
  }

  async #commit(db: Kysely<Schema>, group: readonly Waiting[]): Promise<void> {
    const answers: (() => void)[] = [];
    const refuse = (error: unknown) => {
      for (const { reject } of group) reject(error);
    };
    try {
      await commit(db, group, answers);
    } catch (error) {
      refuse(error);
      return;
    }
    const answer = () => {
      for (const each of answers) each();
    };
    void Promise.resolve(this.#durable()).then(answer, refuse);
  }
}

/** Fills `answers` with the outcome of each transaction. */
async function commit(db: Kysely<Schema>, group: readonly Waiting[], answers: (() => void)[]): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const [only] = group;
    if (only !== undefined && group.length === 1) {
      const value = await only.work(tx);
      answers.push(() => only.resolve(value));
      return;
    }
    for (const { work, resolve, reject } of group) {
      await sql`savepoint member`.execute(tx);
      try {
        const value = await work(tx);
        answers.push(() => resolve(value));
      } catch (error) {
        // If the database has aborted the whole transaction, this fails too, and all callers get the error.
        await sql`rollback to member`.execute(tx);
        answers.push(() => reject(error));
      }
      await sql`release member`.execute(tx);
    }
  });
}
