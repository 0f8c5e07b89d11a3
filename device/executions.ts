/**
 * The device's executions: each command once, its end remembered until the ledger has it (PROTOCOL.md, sections
 * "Delivery" and "Results").
 */
import type { CancelOrder, CommandOrder, DeviceMessage } from '../protocol/index.ts';
import { clip } from './clip.ts';
import { type Execution, ExecutionBook, type Live, open } from './execution-book.ts';
import { Aborted, type AbortReason, type Handlers, type Registered } from './handlers.ts';
import { outcome, outcomeOfError } from './outcome.ts';
import type { ServerClock } from './server-clock.ts';
import type { DeviceStore, Outcome, StoredDevice } from './store.ts';
import type { Words } from './words.ts';

export interface ExecutionEvents {
  started(id: string, type: string): void;
  finished(id: string, type: string, outcome: Outcome): void;
  settled(id: string, state: string): void;
  fault(error: unknown): void;
}

export interface ExecutionLimits {
  /** Handlers that run at once, those registered as `unlimited` not counted. */
  concurrency: number;
  /** Executions that are not settled; more are rejected as `busy` (D-9). */
  maxOpen: number;
  /** Ids that are remembered, settled ones included (D-10). */
  maxRemembered: number;
}

export const EXECUTION_DEFAULTS: ExecutionLimits = { concurrency: 4, maxOpen: 1_000, maxRemembered: 100_000 };

/** A handler still at work after this long is told of by a first `progress`, milliseconds. */
const FIRST_PROGRESS_MS = 500;
/** D-5 */
const PROGRESS_EVERY_MS = 1_000;

export class Executions {
  readonly #handlers: Handlers;
  readonly #clock: ServerClock;
  readonly #limits: ExecutionLimits;
  readonly #events: ExecutionEvents;
  readonly #book: ExecutionBook;
  readonly #words: Words;
  /** Ids that wait for a free slot, in the order they came. */
  readonly #waiting = new Set<string>();
  #slotsTaken = 0;
  /** Handlers whose promise is open, also after their execution timed out. */
  readonly #working = new Set<Promise<void>>();
  #resumed = false;
  #stopping = false;
  #dead = false;

  constructor(
    stored: StoredDevice,
    parts: {
      store: DeviceStore;
      handlers: Handlers;
      clock: ServerClock;
      words: (newest: (id: string) => DeviceMessage | null) => Words;
      limits: ExecutionLimits;
      events: ExecutionEvents;
    },
  ) {
    this.#handlers = parts.handlers;
    this.#clock = parts.clock;
    this.#limits = parts.limits;
    this.#events = parts.events;
    this.#book = new ExecutionBook(stored, parts.store);
    this.#words = parts.words((id) => this.#newest(id));
  }

  get words(): Words {
    return this.#words;
  }

  /** Figures for people: executions that wait, run, and are finished but not settled. */
  counts(): { waiting: number; running: number; unsettled: number; remembered: number } {
    const { running, unsettled, remembered } = this.#book.counts();
    return { waiting: this.#waiting.size, running, unsettled, remembered };
  }

  /** After a restart: what was running is over (D-7), unless running it twice does no harm. */
  async recover(): Promise<void> {
    const changes: Promise<void>[] = [];
    for (const entry of this.#book.inOrder()) {
      const { record } = entry;
      if (record.state !== 'acked' && record.state !== 'running') continue;
      const safe = this.#handlers.get(record.command.type)?.options.safeToRepeat ?? false;
      if (record.state === 'acked' || safe) this.#waiting.add(record.id);
      else changes.push(this.#finish(entry, outcome('failed', 'interrupted')));
    }
    await Promise.all(changes);
  }

  /** Ids whose newest word is said after every `welcome`. */
  unsettled(): string[] {
    for (const entry of this.#book.all()) if (entry.live) entry.live.word = 'progress';
    return [...this.#book.all()].filter((entry) => open(entry.record)).map((entry) => entry.record.id);
  }

  /** The time is known: what waited for that since the restart may go on, or has run out of time meanwhile (D-6). */
  resume(): void {
    if (this.#resumed) return;
    this.#resumed = true;
    for (const id of this.#waiting) {
      const entry = this.#book.get(id);
      if (entry) this.#arm(entry);
    }
    this.#pump();
  }

  async command(order: CommandOrder, expired: boolean): Promise<void> {
    if (this.#stopping) return;
    const { id } = order;
    const known = this.#book.get(id);
    if (known) return this.#again(known);
    // An id that was forgotten may come back with an honest signature: D-10 keeps it from running twice.
    if (expired || order.expiresAt <= this.#book.forgotten) {
      return this.#words.sayOnce({ t: 'result', id, state: 'expired' });
    }
    const { maxOpen, maxRemembered } = this.#limits;
    if (
      this.#book.openCount + this.#abandoned() >= maxOpen ||
      this.#book.counts().remembered >= maxRemembered
    ) {
      return this.#words.sayOnce({ t: 'result', id, state: 'rejected', reason: 'busy' });
    }
    await this.#accept(order, this.#handlers.get(order.type));
  }

  async #accept(order: CommandOrder, handler: Registered | undefined): Promise<void> {
    const base = { id: order.id, issuedAt: order.issuedAt, expiresAt: order.expiresAt };
    if (!handler) {
      const end = outcome('rejected', 'unsupported');
      const entry = this.#book.add({ ...base, state: 'finished', outcome: end });
      return this.#record(entry, () => this.#said(order.id, order.type, end));
    }
    const begins = (handler.options.unlimited || this.#freeSlot()) && this.#resumed;
    if (begins && !handler.options.unlimited) this.#slotsTaken++;
    const ackedAt = this.#clock.now();
    const state = begins ? 'running' : 'acked';
    const entry = this.#book.add({ ...base, state, command: order, ackedAt });
    if (begins) entry.live = this.#live(!handler.options.unlimited);
    try {
      entry.ready = this.#book.write(entry);
      await entry.ready;
    } catch (error) {
      // D-3: what cannot be remembered is not answered; it will come again.
      this.#book.drop(order.id);
      this.#release(entry);
      this.#pump();
      this.#events.fault(error);
      return;
    }
    if (this.#dead) return;
    this.#words.say(order.id);
    // A cancel may have come while the disk was busy.
    if (entry.record.state !== state) return;
    this.#arm(entry);
    if (begins) this.#run(entry, order, handler);
    else {
      this.#waiting.add(order.id);
      this.#pump();
    }
  }

  /** D-4 */
  async #again(entry: Execution): Promise<void> {
    const { record } = entry;
    if (record.state === 'withheld') return this.#finish(entry, outcome('canceled'));
    if (record.state === 'settled') return this.#words.sayOnce({ t: 'ack', id: record.id });
    if (entry.live) entry.live.word = 'ack';
    await entry.ready.catch(() => undefined);
    this.#words.say(record.id);
  }

  /** D-8 */
  async cancel(order: CancelOrder): Promise<void> {
    const entry = this.#book.get(order.id);
    if (!entry) {
      if (this.#book.counts().remembered >= this.#limits.maxRemembered) return;
      const { id, issuedAt, expiresAt } = order;
      const withheld = this.#book.add({ id, issuedAt, expiresAt, state: 'withheld' });
      return this.#record(withheld, () => {});
    }
    await entry.ready.catch(() => undefined);
    if (this.#book.get(order.id) !== entry) return;
    if (entry.record.state === 'acked') {
      this.#waiting.delete(order.id);
      await this.#finish(entry, outcome('canceled'));
    } else if (entry.record.state === 'running') {
      this.#abort(entry, 'canceled');
    }
  }

  /** */
  async settled(id: string, state: string): Promise<void> {
    const entry = this.#book.get(id);
    if (!entry || !open(entry.record)) return;
    await entry.ready.catch(() => undefined);
    if (this.#book.get(id) !== entry || !open(entry.record)) return;
    const { issuedAt, expiresAt } = entry.record;
    this.#abort(entry, 'settled');
    this.#waiting.delete(id);
    this.#words.forget(id);
    this.#book.change(entry, { id, issuedAt, expiresAt, state: 'settled' });
    this.#release(entry);
    this.#pump();
    this.#events.settled(id, state);
    await this.#record(entry, () => {});
  }

  /** Forgets what D-10 allows to forget. */
  async sweep(): Promise<void> {
    if (!this.#clock.known || this.#dead) return;
    try {
      await this.#book.sweep(this.#clock.now());
    } catch (error) {
      this.#events.fault(error);
    }
  }

  /** An order that left no other trace still counts for the time (S-5). */
  witnessed(issuedAt: number): void {
    this.#book.mark(issuedAt).catch((error) => this.#events.fault(error));
  }

  /** Takes no more commands, asks handlers to stop, and waits for them, no longer than the deadline. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    for (const entry of this.#book.all()) this.#abort(entry, 'stopped');
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([Promise.all(this.#working), deadline]);
    clearTimeout(timer);
    this.kill();
  }

  /** As if the program had ended: nothing is run, written or said from here on. */
  kill(): void {
    this.#stopping = true;
    this.#dead = true;
    for (const entry of this.#book.all()) {
      this.#abort(entry, 'stopped');
      clearTimeout(entry.deadline);
    }
    this.#words.detach();
    this.#book.close();
  }

  /* ---- running ---- */

  #freeSlot(): boolean {
    return this.#slotsTaken < this.#limits.concurrency && this.#waiting.size === 0;
  }

  /** Handlers that go on although their execution is over. */
  #abandoned(): number {
    return Math.max(0, this.#working.size - this.#book.counts().running);
  }

  #live(takesSlot: boolean): Live {
    return { takesSlot, controller: new AbortController(), word: 'ack', progressAt: 0 };
  }

  /** Starts what waits, first come first served, as far as there are slots. */
  #pump(): void {
    if (this.#stopping || !this.#resumed) return;
    for (const id of this.#waiting) {
      const entry = this.#book.get(id);
      const record = entry?.record;
      if (!entry || (record?.state !== 'acked' && record?.state !== 'running')) {
        this.#waiting.delete(id);
        continue;
      }
      const handler = this.#handlers.get(record.command.type);
      if (!handler) {
        this.#waiting.delete(id);
        void this.#finish(entry, outcome('rejected', 'unsupported'));
        continue;
      }
      const takesSlot = !handler.options.unlimited;
      if (takesSlot && this.#slotsTaken >= this.#limits.concurrency) continue;
      this.#waiting.delete(id);
      if (takesSlot) this.#slotsTaken++;
      entry.live = this.#live(takesSlot);
      const running = { ...record, state: 'running' as const };
      this.#book.change(entry, running);
      entry.ready = this.#book.write(entry);
      entry.ready.then(
        () => {
          if (entry.record === running && !this.#stopping) this.#run(entry, record.command, handler);
        },
        (error) => {
          this.#events.fault(error);
          // Not on record as started, so that a crash now would start it a second time: it is not started at all.
          if (entry.record === running) void this.#finish(entry, outcome('failed', 'state not writable'));
        },
      );
    }
  }

  /** The finish-by clock (D-6), from the acknowledgement on. */
  #arm(entry: Execution): void {
    const { record } = entry;
    if (record.state !== 'acked' && record.state !== 'running') return;
    const leftMs = record.ackedAt + record.command.timeoutMs - this.#clock.now();
    entry.deadline = setTimeout(
      () => {
        this.#waiting.delete(record.id);
        this.#abort(entry, 'timed-out');
        void this.#finish(entry, outcome('timed-out'));
      },
      Math.max(0, leftMs),
    );
  }

  #run(entry: Execution, command: CommandOrder, handler: Registered): void {
    const { live } = entry;
    if (!live) return;
    const { signal } = live.controller;
    const over = () => entry.live !== live;
    const { target: _, kind: __, ...shown } = command;
    this.#events.started(command.id, command.type);
    live.progressTimer = setTimeout(() => this.#sayProgress(entry, live), FIRST_PROGRESS_MS);
    const work = (async () => {
      let end: Outcome | null;
      try {
        // Also a handler that aborts before it began is called: it may have something to undo.
        const data = await handler.run(shown, {
          signal,
          progress: (percent, note) => {
            if (!over()) this.#progress(entry, live, percent, note);
          },
        });
        end = outcome('succeeded', undefined, data);
      } catch (error) {
        end = outcomeOfError(error, signal);
      }
      if (end && !over() && !this.#dead) await this.#finish(entry, end);
    })().finally(() => this.#working.delete(work));
    this.#working.add(work);
  }

  #progress(entry: Execution, live: Live, percent?: number, note?: string): void {
    if (percent !== undefined && Number.isFinite(percent)) {
      live.percent = Math.round(Math.min(100, Math.max(0, percent)));
    }
    if (note !== undefined) live.note = clip(note, 256);
    const waitMs = live.progressAt + PROGRESS_EVERY_MS - performance.now();
    if (live.progressAt !== 0 && waitMs > 0) {
      live.progressTimer ??= setTimeout(() => this.#sayProgress(entry, live), waitMs);
    } else {
      this.#sayProgress(entry, live);
    }
  }

  #sayProgress(entry: Execution, live: Live): void {
    clearTimeout(live.progressTimer);
    live.progressTimer = undefined;
    if (entry.live !== live || this.#dead) return;
    live.word = 'progress';
    live.progressAt = performance.now();
    this.#words.say(entry.record.id);
  }

  #abort(entry: Execution, why: AbortReason): void {
    if (entry.live && !entry.live.controller.signal.aborted) entry.live.controller.abort(new Aborted(why));
  }

  /** remembered first, then said. */
  async #finish(entry: Execution, end: Outcome): Promise<void> {
    const { record } = entry;
    const { id, issuedAt, expiresAt } = record;
    const type = 'command' in record ? record.command.type : '';
    this.#book.change(entry, { id, issuedAt, expiresAt, state: 'finished', outcome: end });
    this.#release(entry);
    this.#pump();
    await this.#record(entry, () => this.#said(id, type, end));
  }

  #said(id: string, type: string, end: Outcome): void {
    this.#words.say(id);
    this.#events.finished(id, type, end);
  }

  /** Gives back what a running execution held. */
  #release(entry: Execution): void {
    clearTimeout(entry.deadline);
    if (!entry.live) return;
    clearTimeout(entry.live.progressTimer);
    if (entry.live.takesSlot) this.#slotsTaken--;
    entry.live = undefined;
  }

  /** An end that could not be written is said all the same: after a crash it would be `interrupted`, too late. */
  async #record(entry: Execution, then: () => void): Promise<void> {
    try {
      entry.ready = this.#book.write(entry);
      await entry.ready;
    } catch (error) {
      this.#events.fault(error);
    }
    if (!this.#dead) then();
  }

  #newest(id: string): DeviceMessage | null {
    const entry = this.#book.get(id);
    const record = entry?.record;
    if (!entry || !record) return null;
    if (record.state === 'finished') return { t: 'result', id, ...record.outcome };
    if (record.state === 'acked') return { t: 'ack', id };
    if (record.state !== 'running') return null;
    if (entry.live?.word !== 'progress') return { t: 'ack', id };
    const { percent, note } = entry.live;
    return {
      t: 'progress',
      id,
      ...(percent === undefined ? {} : { percent }),
      ...(note === undefined ? {} : { note }),
    };
  }
}
