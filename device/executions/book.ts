import type { CommandOrder } from '../../protocol/index.ts';
import type { DeviceStore, ExecutionRecord, JournalEntry, StoredDevice } from '../storage/store.ts';
import type { ServerClock } from './server-clock.ts';

/** The state of a running execution besides its record. */
export interface Live {
  takesSlot: boolean;
  controller: AbortController;
  /** What the device reports about it next. */
  word: 'ack' | 'progress';
  percent?: number;
  note?: string;
  progressAt: number;
  progressTimer?: ReturnType<typeof setTimeout> | undefined;
}

export interface Execution {
  record: ExecutionRecord;
  /** The latest write of the record. */
  ready: Promise<void>;
  /** Its outcome is being sealed or stored: the device sends nothing about it until then. */
  storing?: true;
  live?: Live | undefined;
  /** A secret command with its arguments, once they can be read; never stored. */
  readable?: CommandOrder;
  deadline?: ReturnType<typeof setTimeout>;
}

/** Whether the device still has to report it. */
export function open(record: ExecutionRecord): boolean {
  return record.state === 'acked' || record.state === 'running' || record.state === 'finished';
}

/** Rejected as busy: reported like every outcome, but it takes no room for work (D-9). */
function turnedAway(record: ExecutionRecord): boolean {
  if (record.state !== 'finished') return false;
  return record.outcome.state === 'rejected' && record.outcome.reason === BUSY;
}

/** Reason of a rejection for lack of room (D-9). */
export const BUSY = 'busy';

const done = Promise.resolve();

/** Every execution the device remembers, in memory and in the store. */
export class ExecutionBook {
  readonly #entries = new Map<string, Execution>();
  readonly #store: DeviceStore;
  readonly #clock: ServerClock;
  #counts = { running: 0, open: 0, turnedAway: 0 };
  #closed = false;
  /** The stored floor (S-5). */
  #marked: number;

  constructor(stored: StoredDevice, store: DeviceStore, clock: ServerClock) {
    this.#store = store;
    this.#clock = clock;
    this.#marked = stored.marks.issuedAt;
    for (const record of stored.executions) this.add(record);
  }

  /** Executions that are not settled, without those rejected as busy. */
  get taken(): number {
    return this.#counts.open - this.#counts.turnedAway;
  }

  counts(): { running: number; unsettled: number; remembered: number } {
    return { running: this.#counts.running, unsettled: this.#counts.open, remembered: this.#entries.size };
  }

  all(): IterableIterator<Execution> {
    return this.#entries.values();
  }

  /** Oldest command first. */
  inOrder(): Execution[] {
    return [...this.#entries.values()].sort((a, b) => a.record.issuedAt - b.record.issuedAt);
  }

  get(id: string): Execution | undefined {
    return this.#entries.get(id);
  }

  add(record: ExecutionRecord): Execution {
    const entry: Execution = { record, ready: done };
    this.#entries.set(record.id, entry);
    this.#count(record, 1);
    return entry;
  }

  change(entry: Execution, record: ExecutionRecord): void {
    this.#count(entry.record, -1);
    entry.record = record;
    this.#count(record, 1);
  }

  drop(id: string): void {
    const entry = this.#entries.get(id);
    if (entry) this.#count(entry.record, -1);
    this.#entries.delete(id);
  }

  /**
   * Writes the floor with the entries, so that an order is not acknowledged before the floor that it raised
   * is stored.
   */
  write(entry: Execution): Promise<void> {
    return this.#append([{ put: entry.record }, ...this.#news()]);
  }

  async mark(): Promise<void> {
    const news = this.#news();
    if (news.length > 0) await this.#append(news);
  }

  /**
   * Forgets settled executions that expired by the floor (D-10). No gateway can move the floor forward, and
   * server time is never earlier (S-5), so a forgotten command that comes again is expired.
   */
  async sweep(): Promise<void> {
    const issuedAt = this.#clock.floor;
    const gone: JournalEntry[] = [];
    for (const { record } of this.#entries.values()) {
      if (open(record) || record.expiresAt >= issuedAt) continue;
      gone.push({ forget: record.id, issuedAt });
      this.drop(record.id);
    }
    if (gone.length === 0) return;
    this.#marked = Math.max(this.#marked, issuedAt);
    await this.#append(gone);
  }

  close(): void {
    this.#closed = true;
  }

  /** The floor, if it is not stored yet. */
  #news(): JournalEntry[] {
    const issuedAt = this.#clock.floor;
    if (issuedAt <= this.#marked) return [];
    this.#marked = issuedAt;
    return [{ marks: { issuedAt } }];
  }

  async #append(entries: JournalEntry[]): Promise<void> {
    // A program that has ended writes nothing; a handler's later report is lost, as in a crash.
    if (this.#closed) return;
    try {
      await this.#store.append(entries);
    } catch (error) {
      // The floor among these entries was not stored: the next write includes it again.
      this.#marked = 0;
      throw error;
    }
  }

  #count(record: ExecutionRecord, by: 1 | -1): void {
    if (record.state === 'running') this.#counts.running += by;
    if (open(record)) this.#counts.open += by;
    if (turnedAway(record)) this.#counts.turnedAway += by;
  }
}
