import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import type { CommandFrames } from '../dispatch/command-frames.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import type { HolderMail } from '../dispatch/holder-mail.ts';
import type { ExecutionKey, Store } from '../store/store.ts';

/** Executions looked at together, and the rest between two such: a few percent of a core, however many are open. */
const PAGE = 200;
const REST_MS = 100;
/** Devices that were not there are asked later, again and again with longer pauses. */
const FIRST_PAUSE_MS = 2_000;
const LAST_PAUSE_MS = 10 * 60_000;

export interface RecheckParts {
  store: Store;
  bus: Bus;
  dispatcher: Dispatcher;
  mail: HolderMail;
  frames: CommandFrames;
  now: () => number;
  log: Logger;
}

type Open = ExecutionKey & { ackedAt: number | null };

/**
 * Once after the start of a server: each device is sent again what it has acknowledged before and what is open still, and answers with its
 * newest word (D-4). So a database that was restored from a backup learns what has ended since; devices do not say by themselves
 * what was settled.
 */
export class Recheck {
  readonly #parts: RecheckParts;
  readonly #stopping = new AbortController();
  /** Asked, as `<command> <device>`. */
  readonly #asked = new Set<string>();
  #startedAt = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: RecheckParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#startedAt = this.#parts.now();
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let woken = false;
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 2)) {
      try {
        if ((await this.#pass(!woken)) === 0) break;
        woken = true;
      } catch (error) {
        this.#parts.log.debug({ err: error }, 'devices were not asked about what is open; trying again');
      }
      await pause(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
    this.#asked.clear();
  }

  /** Returns how many could not be asked. `wake`: look as well for who can be sent what is queued. */
  async #pass(wake: boolean): Promise<number> {
    const { store, dispatcher } = this.#parts;
    const { signal } = this.#stopping;
    let missing = 0;
    for (let after: ExecutionKey | null = null; !signal.aborted; ) {
      const page: Awaited<ReturnType<Store['executions']['open']>> = await store.executions.open(after, PAGE);
      // Also those of devices that the database does not know to be connected.
      if (wake) dispatcher.wake(page.filter(({ state }) => state === 'queued').map(({ device }) => device));
      missing += await this.#ask(page.filter((row) => this.#isOld(row)));
      after = page.at(-1) ?? null;
      if (page.length < PAGE) break;
      await pause(REST_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
    return missing;
  }

  #isOld({ command, device, ackedAt }: Open): boolean {
    return ackedAt !== null && ackedAt < this.#startedAt && !this.#asked.has(`${command} ${device}`);
  }

  async #ask(rows: readonly Open[]): Promise<number> {
    if (rows.length === 0) return 0;
    const { store, bus, mail, frames, now } = this.#parts;
    const holders = await bus.presence.locate(rows.map(({ device }) => device));
    const there = rows.filter((_, index) => holders[index]);
    const ids = [...new Set(there.map(({ command }) => command))];
    const commands = new Map((await store.commands.getMany(ids)).map((command) => [command.id, command]));
    await mail.sendFrames(
      there.flatMap(({ command: id, device }) => {
        const command = commands.get(id);
        if (!command) return [];
        const order = { devices: [device], frame: frames.forDevice(command, device) };
        // First, so that a device which has forgotten both does not begin.
        const cancel = { devices: [device], frame: frames.cancelForDevice(id, device, now()) };
        return command.cancelRequestedAt === null ? [order] : [cancel, order];
      }),
    );
    for (const { command, device } of there) this.#asked.add(`${command} ${device}`);
    return rows.length - there.length;
  }
}
