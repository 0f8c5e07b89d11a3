import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import type { BestEffortSender } from '../best-effort-sender.ts';
import type { CommandFrames } from '../dispatch/command-frames.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import type { ExecutionKey, Store } from '../store/store.ts';

/** Executions read at once, and the pause between two reads. Together they take a few percent of a core. */
const PAGE = 200;
const REST_MS = 100;
/** Devices that are away are tried again, with growing pauses. */
const FIRST_PAUSE_MS = 2_000;
const LAST_PAUSE_MS = 10 * 60_000;
/** At most this many devices that are away are tried again. */
const MISSING_MAX = 100_000;

export interface RecheckParts {
  store: Store;
  bus: Bus;
  dispatcher: Dispatcher;
  sender: BestEffortSender;
  frames: CommandFrames;
  now: () => number;
  log: Logger;
}

/**
 * Runs once after the start of a server. It sends each device its acknowledged open commands again, and the
 * device answers with their latest state (D-4). So a database that was restored from a backup learns what has
 * ended since: devices do not repeat settled results by themselves. All open executions are read once; after
 * that only devices that were away are tried again.
 */
export class Recheck {
  readonly #parts: RecheckParts;
  readonly #stopping = new AbortController();
  readonly #giveUpAfterMs: number;
  /** Devices that were away. */
  readonly #missing = new Set<string>();
  /** The last open execution that was read. */
  #readUpTo: ExecutionKey | null = null;
  #readAll = false;
  #startedAt = 0;
  #done: Promise<void> = Promise.resolve();
  #running = false;

  /** Devices that are away for longer are not asked: their open executions end by their clocks. */
  constructor(parts: RecheckParts, { giveUpAfterMs }: { giveUpAfterMs: number }) {
    this.#parts = parts;
    this.#giveUpAfterMs = giveUpAfterMs;
  }

  /** Whether devices remain to be asked. */
  get running(): boolean {
    return this.#running;
  }

  start(): void {
    this.#startedAt = this.#parts.now();
    this.#running = true;
    this.#done = this.#run().finally(() => {
      this.#running = false;
      this.#missing.clear();
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { log } = this.#parts;
    const giveUpAt = performance.now() + this.#giveUpAfterMs;
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 2)) {
      try {
        if (this.#readAll) await this.#askMissing();
        else await this.#askAll();
        if (this.#readAll && this.#missing.size === 0) return;
      } catch (error) {
        log.debug({ err: error }, 'devices could not be asked about open commands; trying again');
      }
      // Never gives up before everything was read: until then nobody was asked.
      if (this.#readAll && performance.now() >= giveUpAt) {
        log.info({ devices: this.#missing.size }, 'devices that are away are no longer asked');
        return;
      }
      await this.#rest(pauseMs);
    }
  }

  /** Continues where an error interrupted it. Also wakes the dispatcher for queued executions. */
  async #askAll(): Promise<void> {
    const { store, bus, dispatcher } = this.#parts;
    while (!this.#stopping.signal.aborted) {
      const page = await store.executions.open(this.#readUpTo, PAGE);
      // Including devices that the database does not record as connected.
      dispatcher.wake(page.filter(({ state }) => state === 'queued').map(({ device }) => device));
      const old = page.filter(({ ackedAt }) => ackedAt !== null && ackedAt < this.#startedAt);
      const holders = old.length > 0 ? await bus.presence.locate(old.map(({ device }) => device)) : [];
      await this.#send(old.filter((_, index) => holders[index]));
      old.forEach(({ device }, index) => {
        if (!holders[index] && this.#missing.size < MISSING_MAX) this.#missing.add(device);
      });
      this.#readUpTo = page.at(-1) ?? this.#readUpTo;
      this.#readAll = page.length < PAGE;
      if (this.#readAll) return;
      await this.#rest(REST_MS);
    }
  }

  async #askMissing(): Promise<void> {
    const { bus } = this.#parts;
    const devices = [...this.#missing];
    for (let from = 0; from < devices.length && !this.#stopping.signal.aborted; from += PAGE) {
      const some = devices.slice(from, from + PAGE);
      const holders = await bus.presence.locate(some);
      await this.#askOf(some.filter((_, index) => holders[index]));
      await this.#rest(REST_MS);
    }
  }

  async #askOf(there: readonly string[]): Promise<void> {
    if (there.length === 0) return;
    const { store } = this.#parts;
    for (let after: ExecutionKey | null = null; ; ) {
      const page: ExecutionKey[] = await store.executions.ackedBefore(there, this.#startedAt, after, PAGE);
      await this.#send(page);
      if (page.length < PAGE) break;
      if (this.#stopping.signal.aborted) return;
      after = page.at(-1) ?? null;
      await this.#rest(REST_MS);
    }
    for (const device of there) this.#missing.delete(device);
  }

  async #send(rows: readonly ExecutionKey[]): Promise<void> {
    if (rows.length === 0) return;
    const { store, sender, frames, now } = this.#parts;
    const ids = [...new Set(rows.map(({ command }) => command))];
    const commands = new Map((await store.commands.getMany(ids)).map((command) => [command.id, command]));
    const generations = [...commands.values()].some(({ secret }) => secret)
      ? await store.devices.generations(rows.map(({ device }) => device))
      : null;
    await sender.send(
      rows.flatMap(({ command: id, device }) => {
        const command = commands.get(id);
        if (!command) return [];
        const frame = frames.forDevice(command, device, generations?.get(device)?.generation);
        const order = { devices: [device], frame };
        // The cancel goes first, so that a device that has forgotten both does not start the command.
        const cancel = { devices: [device], frame: frames.cancelForDevice(id, device, now()) };
        return command.cancelRequestedAt === null ? [order] : [cancel, order];
      }),
    );
  }

  #rest(ms: number): Promise<void> {
    const { signal } = this.#stopping;
    return pause(ms, undefined, { signal, ref: false }).catch(() => undefined);
  }
}
