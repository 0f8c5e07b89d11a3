/**
 * The device's executions: each command runs once, and its outcome is kept until the ledger has it
 * (PROTOCOL.md, sections "Delivery" and "Results").
 */
import {
  type CancelOrder,
  type CommandOrder,
  type Encrypted,
  encodeResultBody,
  type GroupKeyName,
  type Key,
  type SealedArgs,
  sameBytes,
  sealedResultBytes,
  tellsSecrets,
} from '../../protocol/index.ts';
import { clip } from '../platform/clip.ts';
import type { DeviceStore, ExecutionRecord, Outcome, SettledEnd, StoredDevice } from '../storage/store.ts';
import type { Report } from './authenticated-link.ts';
import { BUSY, type Execution, ExecutionBook, open } from './book.ts';
import type { DeviceKeys } from './device-keys.ts';
import { type GroupKeys, type GroupKeysHooks, isSameKey } from './group-keys.ts';
import type { Handlers, Registered } from './handlers.ts';
import { outcome } from './outcome.ts';
import type { ReportQueue } from './report-queue.ts';
import { ExecutionRuns } from './runs.ts';
import { openArgs } from './secret-args.ts';
import type { ServerClock } from './server-clock.ts';

export interface ExecutionEvents {
  started(id: string, type: string): void;
  finished(id: string, type: string, outcome: Outcome): void;
  settled(id: string, state: string): void;
  fault(error: unknown): void;
}

export interface ExecutionLimits {
  /** Most handlers that run at once, without those registered as `unlimited`. */
  concurrency: number;
  /**
   * Most executions that are not settled, without those rejected as `busy`; further ones are rejected as busy
   * (D-9).
   */
  maxOpen: number;
  /** Most remembered ids, including settled ones (D-10). */
  maxRemembered: number;
}

/**
 * Most runs of one execution, including the first: one that crashes its own program each time must stop some
 * time (D-7).
 */
const MOST_RUNS = 3;

export const EXECUTION_DEFAULTS: ExecutionLimits = { concurrency: 4, maxOpen: 1_000, maxRemembered: 100_000 };

/** Characters of the reason that a settled execution keeps, because thousands are remembered. */
const SETTLED_REASON_MAX = 64;

function withoutData({ state, reason }: Outcome): SettledEnd {
  return { state, ...(reason === undefined ? {} : { reason: clip(reason, SETTLED_REASON_MAX) }) };
}

export class Executions {
  readonly #handlers: Handlers;
  readonly #clock: ServerClock;
  readonly #limits: ExecutionLimits;
  readonly #events: ExecutionEvents;
  readonly #book: ExecutionBook;
  readonly #reportQueue: ReportQueue;
  readonly #runs: ExecutionRuns;
  readonly #keys: DeviceKeys;
  readonly #groupKeys: GroupKeys;
  #stopping = false;
  #dead = false;

  constructor(
    stored: StoredDevice,
    parts: {
      store: DeviceStore;
      handlers: Handlers;
      clock: ServerClock;
      reportQueue: (newest: (id: string) => Report | null) => ReportQueue;
      keys: DeviceKeys;
      groupKeys: (hooks: GroupKeysHooks) => GroupKeys;
      limits: ExecutionLimits;
      events: ExecutionEvents;
    },
  ) {
    const { handlers, clock, limits, events } = parts;
    this.#handlers = handlers;
    this.#clock = clock;
    this.#limits = limits;
    this.#events = events;
    this.#book = new ExecutionBook(stored, parts.store, clock);
    this.#reportQueue = parts.reportQueue((id) => this.#newest(id));
    this.#keys = parts.keys;
    this.#groupKeys = parts.groupKeys({
      came: (name) => void this.#readAll(name),
      waits: (name) => this.#unread(name).length > 0,
      room: () => void this.#readAll(),
    });
    this.#runs = new ExecutionRuns({
      book: this.#book,
      handlers,
      clock,
      concurrency: limits.concurrency,
      started: events.started,
      progressed: (id) => this.#reportQueue.say(id),
      finish: (entry, end) => this.#finish(entry, end),
      fault: events.fault,
    });
  }

  get reportQueue(): ReportQueue {
    return this.#reportQueue;
  }

  get groupKeys(): GroupKeys {
    return this.#groupKeys;
  }

  /**
   * Numbers of executions that wait, that run, that are not settled (including those two), and of remembered
   * ids.
   */
  counts(): { waiting: number; running: number; unsettled: number; remembered: number } {
    return { waiting: this.#runs.waiting, ...this.#book.counts() };
  }

  /** After a restart: interrupted executions fail (D-7), unless running them twice is harmless. */
  async recover(): Promise<void> {
    const changes: Promise<void>[] = [];
    await this.#readAll();
    for (const entry of this.#book.inOrder()) {
      await this.#dropUnreadable(entry);
      const { record } = entry;
      if (record.state !== 'acked' && record.state !== 'running') continue;
      if (record.state === 'acked' || this.#mayRunAgain(record, entry.readable))
        this.#runs.recovered(record.id);
      else changes.push(this.#finish(entry, outcome('failed', 'interrupted')));
    }
    await Promise.all(changes);
  }

  #mayRunAgain(
    { command, runs = 1 }: Extract<ExecutionRecord, { command: CommandOrder }>,
    readable = command,
  ): boolean {
    const { safeToRepeat, goesOn } = this.#handlers.get(command.type)?.options ?? {};
    return goesOn?.(readable) || (safeToRepeat === true && runs < MOST_RUNS);
  }

  /** Ids whose newest word is said after every `welcome`. */
  unsettled(): string[] {
    const ids: string[] = [];
    for (const { record, live } of this.#book.all()) {
      if (live) live.word = 'progress';
      if (open(record)) ids.push(record.id);
    }
    return ids;
  }

  /** A gateway has told the time. */
  resume(): void {
    this.#runs.resume();
  }

  async command(order: CommandOrder, expired: boolean): Promise<void> {
    if (this.#stopping) return;
    const { id } = order;
    const known = this.#book.get(id);
    if (known) return this.#again(known, order);
    if (expired) return this.#reportQueue.sayOnce({ t: 'end', id, outcome: { state: 'expired' } });
    const { maxOpen, maxRemembered } = this.#limits;
    if (this.#book.counts().remembered >= maxRemembered) {
      return this.#reportQueue.sayOnce({ t: 'end', id, outcome: outcome('rejected', BUSY) });
    }
    // Remembered, so that a second delivery in flight is not run after the ledger has recorded the rejection.
    if (this.#book.taken + this.#runs.abandoned >= maxOpen) return this.#reject(order, BUSY);
    const handler = this.#handlers.get(order.type);
    await (handler ? this.#accept(order, handler) : this.#reject(order, 'unsupported'));
  }

  #reject({ id, type, issuedAt, expiresAt }: CommandOrder, reason: string): Promise<void> {
    const end = outcome('rejected', reason);
    const entry = this.#book.add({ id, issuedAt, expiresAt, state: 'finished', outcome: end });
    return this.#record(entry, () => this.#said(id, type, end));
  }

  async #accept(order: CommandOrder, handler: Registered): Promise<void> {
    const base = { id: order.id, issuedAt: order.issuedAt, expiresAt: order.expiresAt };
    const live = order.sealed ? undefined : this.#runs.begin(handler);
    const state = live ? 'running' : 'acked';
    const entry = this.#book.add({ ...base, state, command: order, ackedAt: this.#clock.now() });
    entry.live = live;
    try {
      entry.ready = this.#book.write(entry);
      await entry.ready;
    } catch (error) {
      // D-3: a command that cannot be stored is not answered; it will come again.
      this.#book.drop(order.id);
      this.#runs.release(entry);
      this.#events.fault(error);
      return;
    }
    if (this.#dead) return;
    this.#reportQueue.acknowledge(order.id);
    this.#runs.stored(entry, order, handler);
    if (order.sealed) await this.#read(entry);
  }

  /** the command begins once its arguments can be read. */
  async #read(entry: Execution): Promise<void> {
    const { record } = entry;
    if (!('command' in record)) return;
    const read = await openArgs(record.command, this.#keys, this.#groupKeys);
    if (read === null || this.#dead || !('command' in entry.record)) return;
    if (read === 'unreadable') return this.#finish(entry, outcome('failed', 'unreadable'));
    entry.readable = read;
    this.#runs.pump();
  }

  /** Executions that need this key; all if absent. */
  async #readAll(name?: GroupKeyName): Promise<void> {
    await Promise.all(this.#unread(name).map((entry) => this.#read(entry).catch(this.#events.fault)));
  }

  #unread(name?: GroupKeyName): Execution[] {
    return [...this.#book.all()].filter(({ record, readable }) => {
      const sealed = 'command' in record && !readable ? record.command.sealed : undefined;
      return sealed && (!name || (sealed.key && isSameKey(sealed.key, name)));
    });
  }

  /** D-4 */
  async #again(entry: Execution, { issuedAt, expiresAt, sealed }: CommandOrder): Promise<void> {
    const { record } = entry;
    if (record.state === 'withheld') {
      // Remembered for as long as the command could be accepted, which may be longer than its cancel is
      // valid.
      this.#book.change(entry, { ...record, issuedAt, expiresAt: Math.max(expiresAt, record.expiresAt) });
      return this.#finish(entry, outcome('canceled'));
    }
    if (record.state === 'settled') return this.#sayEnd(record.id, record.end);
    if (entry.live) entry.live.word = 'ack';
    const read = await this.#resealed(entry, sealed);
    await entry.ready.catch(() => undefined);
    this.#reportQueue.say(record.id);
    if (read) await this.#read(entry);
  }

  /** arguments that it can read perhaps take the place of those it cannot. Whether they do. */
  async #resealed(entry: Execution, sealed: SealedArgs | undefined): Promise<boolean> {
    const { record } = entry;
    if (!sealed || entry.readable || !('command' in record) || !record.command.sealed) return false;
    if (sameBytes(sealed.ct, record.command.sealed.ct)) return false;
    this.#book.change(entry, { ...record, command: { ...record.command, sealed } });
    await this.#record(entry, () => {});
    return true;
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
    // The server does not know the outcome, or lost it in a restore from a backup.
    if (entry.record.state === 'settled') this.#sayEnd(order.id, entry.record.end);
    else if (entry.record.state === 'finished') this.#reportQueue.say(order.id);
    else if (this.#runs.withdraw(entry)) await this.#finish(entry, outcome('canceled'));
    else this.#runs.abort(entry, 'canceled');
  }

  /**
   * the answer to a result. It is not signed, so it neither stops nor prevents a run. If the ledger
   * ended an execution itself, a cancel says so, and one result too many is harmless. If `state` is
   * absent, the one that the device reported is stored.
   */
  async settled(id: string, state?: string): Promise<void> {
    const entry = this.#book.get(id);
    if (entry?.record.state !== 'finished') return;
    const { issuedAt, expiresAt, outcome } = entry.record;
    this.#reportQueue.forget(id);
    this.#book.change(entry, { id, issuedAt, expiresAt, state: 'settled', end: withoutData(outcome) });
    this.#events.settled(id, state ?? outcome.state);
    await this.#record(entry, () => {});
  }

  /** It is settled, so the device answers once for each question. */
  #sayEnd(id: string, end: SettledEnd | undefined): void {
    if (end) this.#reportQueue.sayOnce({ t: 'end', id, outcome: end });
  }

  /** */
  async key(answer: Key): Promise<void> {
    await this.#groupKeys.take(answer);
  }

  /** the gateway had no room for the result. */
  keep(id: string, retryMs: number): void {
    if (this.#book.get(id)?.record.state === 'finished') this.#reportQueue.keep(id, retryMs);
  }

  /** Forgets what D-10 allows to forget. */
  async sweep(): Promise<void> {
    if (this.#dead) return;
    try {
      await this.#book.sweep();
    } catch (error) {
      this.#events.fault(error);
    }
  }

  /** An order without any other effect still raises the floor (S-5). */
  witnessed(): void {
    this.#book.mark().catch((error) => this.#events.fault(error));
  }

  /** Accepts no more commands, asks handlers to stop, and waits for them until the deadline. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    this.#reportQueue.acknowledgeAll();
    await this.#runs.stop(deadlineMs);
    this.kill();
  }

  /** As if the program had ended: nothing is run, written or sent from here on. */
  kill(): void {
    this.#stopping = true;
    this.#dead = true;
    this.#runs.kill();
    this.#reportQueue.detach();
    this.#groupKeys.detach();
    this.#book.close();
  }

  /** stored first, then sent. */
  async #finish(entry: Execution, end: Outcome): Promise<void> {
    const { record } = entry;
    const { id, issuedAt, expiresAt } = record;
    const { type, sealed } = 'command' in record ? record.command : { type: '', sealed: undefined };
    const finished = { id, issuedAt, expiresAt, state: 'finished' as const };
    const hides = sealed !== undefined && tellsSecrets(end);
    const outcome = hides ? { state: end.state } : end;
    const made = { ...finished, outcome };
    this.#book.change(entry, made);
    delete entry.readable;
    // Also before the rest of it is sealed: the ledger would take it for all there is.
    entry.storing = true;
    this.#runs.release(entry);
    if (hides) {
      const hidden = await this.#hidden(id, end);
      // A gateway says that it is settled, whatever it knows.
      if (entry.record !== made) return;
      if (hidden) this.#book.change(entry, { ...made, sealed: hidden });
    }
    await this.#record(entry, () => this.#said(id, type, end));
  }

  /** as it travels and as it is stored. */
  async #hidden(id: string, end: Outcome): Promise<Encrypted | undefined> {
    try {
      return await this.#keys.seal(encodeResultBody(end), sealedResultBytes(this.#keys.deviceId, id));
    } catch (error) {
      this.#events.fault(error);
      return undefined;
    }
  }

  /** What was sealed with the secret of an earlier enrolment cannot be read by anybody any more. */
  async #dropUnreadable(entry: Execution): Promise<void> {
    const { record } = entry;
    if (record.state !== 'finished' || !record.sealed) return;
    const about = sealedResultBytes(this.#keys.deviceId, record.id);
    if ((await this.#keys.open('secret', record.sealed, about)) !== null) return;
    const { sealed: _, ...rest } = record;
    this.#book.change(entry, rest);
  }

  #said(id: string, type: string, end: Outcome): void {
    this.#reportQueue.say(id);
    this.#events.finished(id, type, end);
  }

  /**
   * An outcome that could not be written is sent anyway: after a crash it would become `interrupted`, too
   * late.
   */
  async #record(entry: Execution, then: () => void): Promise<void> {
    entry.storing = true;
    try {
      entry.ready = this.#book.write(entry);
      await entry.ready;
    } catch (error) {
      this.#events.fault(error);
    }
    delete entry.storing;
    if (!this.#dead) then();
  }

  #newest(id: string): Report | null {
    const entry = this.#book.get(id);
    const record = entry?.record;
    if (!entry || !record || entry.storing) return null;
    if (record.state === 'finished') {
      return { t: 'end', id, outcome: record.outcome, ...(record.sealed && { sealed: record.sealed }) };
    }
    if (record.state === 'acked') return { t: 'ack', id };
    if (record.state !== 'running') return null;
    if (entry.live?.word !== 'progress') return { t: 'ack', id };
    const { percent, note } = entry.live;
    return { t: 'progress', id, ...(percent !== undefined && { percent }), ...(note && { note }) };
  }
}
