import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Outcomes, recordChanges } from '../outcomes.ts';
import { type Routes, type Store, StoreUnavailable } from '../store/store.ts';
import type { Dispatcher } from './dispatcher.ts';

const CHUNK = 2000;
/** Ingest waits at most this long for an expansion: by then 50,000 devices have their command. */
const HEAD_START_MS = 3_000;

interface Ahead {
  routes: Routes;
  last: string | undefined;
}

/**
 * Inserts the execution rows of commands to large targets in chunks, so that a command to a million devices
 * is accepted as fast as one to a single device. The store keeps the position: OverdueExecutions resumes
 * after a crash.
 */
export class Expander {
  readonly #store: Store;
  readonly #dispatcher: Dispatcher;
  readonly #outcomes: Outcomes;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #waiting = new Set<string>();
  /** By command: the routes of its next devices, which are looked up while the previous ones are written. */
  readonly #ahead = new Map<string, Promise<Ahead>>();
  #running: Promise<void> | undefined;
  #begunAt = 0;
  #stopping = false;

  constructor(parts: {
    store: Store;
    dispatcher: Dispatcher;
    outcomes: Outcomes;
    log: Logger;
    now: () => number;
  }) {
    this.#store = parts.store;
    this.#dispatcher = parts.dispatcher;
    this.#outcomes = parts.outcomes;
    this.#log = parts.log;
    this.#now = parts.now;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  expand(commands: Iterable<string>): void {
    for (const id of commands) this.#waiting.add(id);
    if (this.#running || this.#stopping || this.#waiting.size === 0) return;
    this.#begunAt = performance.now();
    this.#running = this.#run().then(
      () => {
        this.#running = undefined;
        this.expand([]);
      },
      (error) => {
        // The commands stay unexpanded; OverdueExecutions asks again.
        this.#running = undefined;
        this.#ahead.clear();
        const level = error instanceof StoreUnavailable ? 'warn' : 'error';
        this.#log[level]({ err: error }, 'a command could not be expanded; trying again');
      },
    );
  }

  /**
   * Resolves when nothing expands or the head start is over. Ingest waits for this, so that the answers of
   * the first devices do not delay the command for the last. After the head start, expansion and ingest take
   * turns.
   */
  async headStart(): Promise<void> {
    const left = this.#begunAt + HEAD_START_MS - performance.now();
    if (this.#running && left > 0)
      await Promise.race([this.#running, delay(left, undefined, { ref: false })]);
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0) {
      for (const id of this.#waiting) {
        if (this.#stopping) return;
        // One chunk of each in turn: a command to all devices does not delay one to a few.
        if (await this.#chunk(id)) this.#waiting.delete(id);
      }
    }
  }

  async #chunk(id: string): Promise<boolean> {
    const { routes, last } = await (this.#ahead.get(id) ?? this.#lookAhead(id));
    this.#ahead.delete(id);
    if (last !== undefined) {
      const next = this.#lookAhead(id, last);
      // The code that awaits these routes sees a failure.
      next.catch(() => {});
      this.#ahead.set(id, next);
    }
    const at = this.#now();
    const chunk = await this.#store.transaction(async (tx) => {
      const { sent, ...result } = await tx.commands.expand(id, CHUNK, at, routes);
      const rows = sent.map((device) => ({ command: id, device }));
      await recordChanges(
        tx,
        [
          ...result.superseded.map((row) => ({ ...row, state: 'superseded' as const })),
          ...rows.map((row) => ({ ...row, state: 'sent' as const })),
        ],
        at,
      );
      return { ...result, rows, command: await tx.commands.get(id) };
    });
    if (chunk.command) void this.#dispatcher.carry(chunk.rows, new Map([[id, chunk.command]]), routes);
    this.#dispatcher.wake(chunk.queued);
    const done = new Set(chunk.superseded.map((row) => row.command));
    if (chunk.done) {
      this.#ahead.delete(id);
      done.add(id);
    }
    if (done.size > 0) await this.#outcomes.commandsMayBeDone(done);
    return chunk.done;
  }

  async #lookAhead(id: string, after?: string): Promise<Ahead> {
    const devices = await this.#store.commands.nextToExpand(id, CHUNK, after);
    return { routes: await this.#dispatcher.routes(devices), last: devices.at(-1) };
  }
}
