/** Runs executions, lets others wait their turn (D-9), and follows each run to its end. */
import { type CommandOrder, LIMITS } from '../../protocol/index.ts';
import { clip } from '../platform/clip.ts';
import type { Outcome } from '../storage/store.ts';
import type { Execution, ExecutionBook, Live } from './book.ts';
import { Aborted, type AbortReason, type Handlers, type Registered } from './handlers.ts';
import { outcome, outcomeOfError, type Travel } from './outcome.ts';
import type { ServerClock } from './server-clock.ts';

/** A handler still running after this time causes a first `progress`, milliseconds. */
const FIRST_PROGRESS_MS = 500;
/** D-5 */
const PROGRESS_EVERY_MS = 1_000;

export interface RunParts {
  book: ExecutionBook;
  handlers: Handlers;
  clock: ServerClock;
  /** Most handlers that run at once, without those registered as `unlimited`. */
  concurrency: number;
  started(id: string, type: string): void;
  /** There is news about a running execution. */
  progressed(id: string): void;
  /** The execution's end; also called for executions that never ran. */
  finish(entry: Execution, end: Outcome): Promise<void>;
  fault(error: unknown): void;
}

export class ExecutionRuns {
  readonly #parts: RunParts;
  /** Ids that wait for a free slot, in the order of arrival. */
  readonly #waiting = new Set<string>();
  /** Handlers whose promise is pending, even if their execution has timed out. */
  readonly #working = new Set<Promise<void>>();
  #slotsTaken = 0;
  #resumed = false;
  #stopping = false;
  #dead = false;

  constructor(parts: RunParts) {
    this.#parts = parts;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Handlers that continue although their execution is over. */
  get abandoned(): number {
    return Math.max(0, this.#working.size - this.#parts.book.counts().running);
  }

  /** An execution left by an earlier program, to be run once the time is known. */
  recovered(id: string): void {
    this.#waiting.add(id);
  }

  /** The time is known: recovered executions continue, or have timed out meanwhile (D-6). */
  resume(): void {
    if (this.#resumed) return;
    for (const id of this.#waiting) {
      const entry = this.#parts.book.get(id);
      if (entry) this.#arm(entry);
    }
    // Only now may anything begin: timed-out executions no longer wait.
    this.#resumed = true;
    this.pump();
  }

  /** The state of a new execution that may begin at once: it then needs only one write. */
  begin({ options }: Registered): Live | undefined {
    const free = this.#slotsTaken < this.#parts.concurrency && this.#waiting.size === 0;
    if (!this.#resumed || (!free && !options.unlimited)) return undefined;
    return this.#take(!options.unlimited);
  }

  /** The execution is stored: it runs, or waits its turn. */
  stored(entry: Execution, command: CommandOrder, handler: Registered): void {
    this.#arm(entry);
    if (entry.live) {
      this.#run(entry, command, handler);
    } else {
      this.#waiting.add(command.id);
      this.pump();
    }
  }

  /**
   * Whether it had not begun; in that case it never will. Work that continues from an earlier program has
   * begun.
   */
  withdraw(entry: Execution): boolean {
    return !this.#goesOn(entry) && this.#waiting.delete(entry.record.id);
  }

  abort(entry: Execution, why: AbortReason): void {
    const { live } = entry;
    if (live && !live.controller.signal.aborted) live.controller.abort(new Aborted(why));
    if (live || why === 'stopped') return;
    const left = this.#goesOn(entry);
    if (!left || !this.#waiting.delete(entry.record.id)) return;
    // Only its handler can end work that continues from an earlier program; that needs no slot.
    entry.live = this.#take(false);
    entry.live.controller.abort(new Aborted(why));
    this.#run(entry, left.command, left.handler);
  }

  /** Releases the resources of an execution; the next may begin. */
  release(entry: Execution): void {
    clearTimeout(entry.deadline);
    if (entry.live) {
      clearTimeout(entry.live.progressTimer);
      if (entry.live.takesSlot) this.#slotsTaken--;
      entry.live = undefined;
    }
    this.pump();
  }

  /** Starts waiting executions in order, as far as there are slots. */
  pump(): void {
    if (this.#stopping || !this.#resumed) return;
    const { book, handlers, concurrency, finish } = this.#parts;
    for (const id of this.#waiting) {
      const entry = book.get(id);
      const record = entry?.record;
      if (!entry || (record?.state !== 'acked' && record?.state !== 'running')) {
        this.#waiting.delete(id);
        continue;
      }
      const handler = handlers.get(record.command.type);
      if (!handler) {
        this.#waiting.delete(id);
        void finish(entry, outcome('rejected', 'unsupported'));
        continue;
      }
      if (record.command.sealed && !entry.readable) continue;
      const takesSlot = !handler.options.unlimited;
      if (takesSlot && this.#slotsTaken >= concurrency) continue;
      this.#waiting.delete(id);
      entry.live = this.#take(takesSlot);
      if (this.#goesOn(entry)) {
        // Already stored as running; it must not begin a second time.
        this.#run(entry, record.command, handler);
        continue;
      }
      // A waiting execution has not begun yet, unless an earlier program was running it.
      const runs = record.state === 'running' ? (record.runs ?? 1) + 1 : 1;
      void this.#note(entry, { ...record, state: 'running', runs }, handler);
    }
  }

  /** Asks handlers to stop and waits for them until the deadline. Nothing begins any more. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    for (const entry of this.#parts.book.all()) this.abort(entry, 'stopped');
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([Promise.all(this.#working), deadline]);
    clearTimeout(timer);
  }

  kill(): void {
    this.#stopping = true;
    this.#dead = true;
    for (const entry of this.#parts.book.all()) {
      this.abort(entry, 'stopped');
      clearTimeout(entry.deadline);
      clearTimeout(entry.live?.progressTimer);
    }
  }

  /** Finds work of an earlier program that continues outside of this one, and the handler that follows it. */
  #goesOn(entry: Execution): { command: CommandOrder; handler: Registered } | null {
    const { record } = entry;
    if (record.state !== 'running') return null;
    const command = readable(entry);
    if (!command) return null;
    const handler = this.#parts.handlers.get(command.type);
    return handler?.options.goesOn?.(command) ? { command, handler } : null;
  }

  #take(takesSlot: boolean): Live {
    if (takesSlot) this.#slotsTaken++;
    return { takesSlot, controller: new AbortController(), word: 'ack', progressAt: 0 };
  }

  /** Stores that it begins, before it begins (D-7). */
  async #note(
    entry: Execution,
    running: Extract<Execution['record'], { command: CommandOrder }>,
    handler: Registered,
  ): Promise<void> {
    const { book, finish, fault } = this.#parts;
    book.change(entry, running);
    try {
      entry.ready = book.write(entry);
      await entry.ready;
    } catch (error) {
      fault(error);
      // If it is not stored as begun, a crash would make it begin a second time, so it does not begin at all.
      if (entry.record === running) await finish(entry, outcome('failed', 'state not writable'));
      return;
    }
    if (entry.record === running && !this.#stopping) this.#run(entry, running.command, handler);
  }

  /** The finish-by clock (D-6), from the acknowledgement on. */
  #arm(entry: Execution): void {
    const { record } = entry;
    if (record.state !== 'acked' && record.state !== 'running') return;
    const { timeoutMs } = record.command;
    const leftMs = record.ackedAt + timeoutMs - this.#parts.clock.now();
    const timedOut = () => {
      this.abort(entry, 'timed-out');
      this.#waiting.delete(record.id);
      const unread = record.command.sealed !== undefined && !entry.readable;
      void this.#parts.finish(entry, unread ? outcome('failed', 'no key') : outcome('timed-out'));
    };
    // Gateways' clocks differ: none of them can extend the time.
    if (leftMs > 0) entry.deadline = setTimeout(timedOut, Math.min(timeoutMs, leftMs));
    else timedOut();
  }

  #run(entry: Execution, order: CommandOrder, handler: Registered): void {
    const { live } = entry;
    const command = readable(entry) ?? order;
    if (!live) return;
    const { signal } = live.controller;
    const { finish, started } = this.#parts;
    const travel = this.#travel(command);
    if (signal.aborted && !handler.options.goesOn?.(command)) {
      // Canceled while the begin was being stored.
      const end = outcomeOfError(signal.reason, signal);
      if (end) void finish(entry, end);
      return;
    }
    const over = () => entry.live !== live || this.#dead;
    const { target: _, kind: __, sealed, ...shown } = command;
    started(command.id, command.type);
    live.progressTimer = setTimeout(() => this.#tell(entry, live), FIRST_PROGRESS_MS);
    const work = (async () => {
      let end: Outcome | null;
      try {
        const data = await handler.run(sealed ? { ...shown, secret: true } : shown, {
          signal,
          progress: (percent, note) => {
            checkProgress(percent, note);
            // Notes travel unencrypted (X-8).
            if (!over()) this.#progress(entry, live, percent, sealed ? undefined : note);
          },
        });
        end = outcome('succeeded', undefined, data, travel);
      } catch (error) {
        end = outcomeOfError(error, signal, travel);
      }
      if (end && !over()) await finish(entry, end);
    })().finally(() => this.#working.delete(work));
    this.#working.add(work);
  }

  #travel({ type, id, sealed }: CommandOrder): Travel {
    const secret = sealed !== undefined;
    // Faults are logged, and the message may contain a secret.
    const refused = ({ message }: Error) =>
      this.#parts.fault(
        new Error(`${type} ${id}: its handler's result could not travel${secret ? '' : `: ${message}`}`),
      );
    return { refused, secret };
  }

  #progress(entry: Execution, live: Live, percent?: number, note?: string): void {
    if (percent !== undefined) live.percent = Math.round(percent);
    if (note !== undefined) live.note = clip(note, LIMITS.noteLength);
    const waitMs = live.progressAt + PROGRESS_EVERY_MS - performance.now();
    if (live.progressAt !== 0 && waitMs > 0) {
      live.progressTimer ??= setTimeout(() => this.#tell(entry, live), waitMs);
    } else {
      this.#tell(entry, live);
    }
  }

  #tell(entry: Execution, live: Live): void {
    clearTimeout(live.progressTimer);
    live.progressTimer = undefined;
    if (entry.live !== live || this.#dead) return;
    live.word = 'progress';
    live.progressAt = performance.now();
    this.#parts.progressed(entry.record.id);
  }
}

/** The command with its arguments; `null` for a secret command that cannot be read (yet). */
function readable({ record, readable }: Execution): CommandOrder | null {
  if (readable || !('command' in record)) return readable ?? null;
  return record.command.sealed ? null : record.command;
}

/** Refuses a value that cannot travel where the handler passes it. */
function checkProgress(percent: unknown, note: unknown): void {
  if (percent !== undefined && !(typeof percent === 'number' && percent >= 0 && percent <= 100)) {
    throw new RangeError(`progress: percent is ${String(percent)}, and must be a number from 0 to 100`);
  }
  if (note !== undefined && typeof note !== 'string') {
    throw new TypeError(`progress: the note is a ${typeof note}, and must be text`);
  }
}
