import type { DeviceStore, ExecutionRecord, JournalEntry, StoredDevice } from './store.ts';

/** What a running execution holds, besides its record. */
export interface Live {
  takesSlot: boolean;
  controller: AbortController;
  /** What is said about it next. */
  word: 'ack' | 'progress';
  percent?: number;
  note?: string;
  progressAt: number;
  progressTimer?: ReturnType<typeof setTimeout> | undefined;
}

export interface Execution {
  record: ExecutionRecord;
  /** The newest write of the record. */
  ready: Promise<void>;
  live?: Live | undefined;
  deadline?: ReturnType<typeof setTimeout>;
}

/** Whether the device still owes a word about it. */
export function open(record: ExecutionRecord): boolean {
  return record.state === 'acked' || record.state === 'running' || record.state === 'finished';
}

/** Ids are kept this much longer than D-10 asks, for gateways whose clocks differ, milliseconds. */
const GRACE_MS = 3_600_000;

const done = Promise.resolve();

/** Every execution the device remembers, in memory and in the store. */
export class ExecutionBook {
  readonly #entries = new Map<string, Execution>();
  readonly #store: DeviceStore;
  #counts = { running: 0, open: 0 };
  #closed = false;
  #forgotten: number;
  #marked: number;

  constructor(stored: StoredDevice, store: DeviceStore) {
    this.#store = store;
    this.#forgotten = stored.marks.forgotten;
    this.#marked = stored.marks.issuedAt;
    for (const record of stored.executions) this.add(record);
  }

  /** Latest `expiresAt` of a forgotten id (D-10). */
  get forgotten(): number {
    return this.#forgotten;
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

  write(entry: Execution): Promise<void> {
    this.#marked = Math.max(this.#marked, entry.record.issuedAt);
    return this.#append([{ put: entry.record }]);
  }

  async mark(issuedAt: number): Promise<void> {
    if (issuedAt <= this.#marked) return;
    this.#marked = issuedAt;
    await this.#append([{ marks: { issuedAt } }]);
  }

  /** `now` is the server's time. */
  async sweep(now: number): Promise<void> {
    const gone: JournalEntry[] = [];
    for (const { record } of this.#entries.values()) {
      if (open(record) || record.expiresAt + GRACE_MS > now) continue;
      gone.push({ forget: record.id, expiresAt: record.expiresAt });
      this.#forgotten = Math.max(this.#forgotten, record.expiresAt);
      this.drop(record.id);
    }
    if (gone.length > 0) await this.#append(gone);
  }

  close(): void {
    this.#closed = true;
  }

  async #append(entries: JournalEntry[]): Promise<void> {
    // A program that has ended writes nothing; what a handler still reports is then lost, as it would be in a crash.
    if (!this.#closed) await this.#store.append(entries);
  }

  #count(record: ExecutionRecord, by: 1 | -1): void {
    if (record.state === 'running') this.#counts.running += by;
    if (open(record)) this.#counts.open += by;
  }
}
