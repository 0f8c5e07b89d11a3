/**
 * Receipts on their way to the administration server: batched, one append at a time, kept while the bus is
 * unavailable. The spool is bounded in number and bytes. At the bound it drops progress and `want` first,
 * then acknowledgements, status, measurements and `undelivered`. When only results and session receipts are
 * left, it refuses a new result, and the device keeps it. So nothing that an execution needs is lost.
 */
import type { Logger } from 'pino';
import type { Receipt, Receipts } from '../../bus/bus.ts';
import type { Metrics } from '../metrics.ts';

/** Which receipts are dropped first at the bound: the lowest. */
const RANK: Record<Receipt['kind'], number> = {
  progress: 0,
  want: 0,
  ack: 1,
  status: 1,
  measured: 1,
  undelivered: 1,
  result: 2,
  connected: 3,
  disconnected: 3,
  'outbox-lost': 3,
  tunnel: 2,
};
const RANKS = 4;

const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 2_000;
/** Bytes of one append: a consumer holds all of it in memory. */
const BATCH_BYTES = 1024 * 1024;
/** What a receipt costs beside its payload, bytes. */
const RECEIPT_OVERHEAD = 200;

export type ResultReceipt = Extract<Receipt, { kind: 'result' }>;

export interface ReceiptSpoolOptions {
  batch: number;
  delayMs: number;
  limit: number;
  limitBytes: number;
}

interface Spooled {
  receipt: Receipt;
  bytes: number;
}

export interface ReceiptSpoolParts {
  receipts: Receipts;
  options: ReceiptSpoolOptions;
  metrics: Metrics;
  log: Logger;
  /** There is no room for this result, and it is not counted as dropped. */
  onResultRefused: (result: ResultReceipt) => void;
}

export class ReceiptSpool {
  readonly #parts: ReceiptSpoolParts;
  /** Oldest first; a hole is a receipt that was dropped. */
  #queue: (Spooled | undefined)[] = [];
  #head = 0;
  /** Where the search for the oldest receipt of each rank continues. */
  #search: number[] = new Array(RANKS).fill(0);
  #counts: number[] = new Array(RANKS).fill(0);
  #count = 0;
  #bytes = 0;
  /** The batch being appended or retried; it still counts as spooled. */
  #batch: Spooled[] = [];
  #appending = false;
  #timer: NodeJS.Timeout | null = null;
  #retryMs = 0;
  #rounds = 0;
  #waiters: (() => void)[] = [];
  #stopped = false;

  constructor(parts: ReceiptSpoolParts) {
    this.#parts = parts;
  }

  /** Waiting receipts, including the batch being appended. */
  get size(): number {
    return this.#count + this.#batch.length;
  }

  /** Completed appends. */
  get rounds(): number {
    return this.#rounds;
  }

  /** Used share of the bound, in number or bytes, whichever is larger. */
  get fill(): number {
    const { limit, limitBytes } = this.#parts.options;
    return Math.max(this.size / limit, this.#bytes / limitBytes);
  }

  /** Time of the oldest waiting receipt, milliseconds since the Unix epoch; `null` for none. */
  get oldestAt(): number | null {
    if (this.size === 0) return null;
    const oldest = this.#batch[0] ?? this.#queue.find((spooled) => spooled !== undefined);
    return oldest?.receipt.at ?? null;
  }

  /** The moment, by the shared clock, up to which all receipts have been appended. */
  heardUpTo(now: number): number {
    return Math.min(this.oldestAt ?? now, now) - 1;
  }

  /** Queues a receipt; `payloadBytes` is the size of its payload from the device. */
  add(receipt: Receipt, payloadBytes = 0): void {
    const spooled: Spooled = { receipt, bytes: payloadBytes + RECEIPT_OVERHEAD };
    this.#leaveOutBefore(receipt);
    this.#queue.push(spooled);
    this.#counted(spooled, 1);
    this.#bytes += spooled.bytes;
    while (this.#overBound() && this.#makeRoom());
    this.#schedule();
  }

  /** Resolves to whether everything was appended before `deadline` (milliseconds since the Unix epoch). */
  async flush(deadline: number): Promise<boolean> {
    while (this.size > 0 && Date.now() < deadline) {
      this.#retryMs = Math.min(this.#retryMs, RETRY_MIN_MS);
      if (this.#timer) clearTimeout(this.#timer);
      this.#timer = null;
      if (!this.#appending) void this.#append();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(RETRY_MIN_MS, Math.max(1, deadline - Date.now())));
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return this.size === 0;
  }

  /** Stops appending and forgets the rest. Call `flush` first. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /**
   * A result implies the acknowledgement of its command, so an acknowledgement right before it is redundant.
   */
  #leaveOutBefore(receipt: Receipt): void {
    const last = this.#queue.at(-1);
    if (receipt.kind !== 'result' || last?.receipt.kind !== 'ack') return;
    if (last.receipt.command !== receipt.command || last.receipt.device !== receipt.device) return;
    this.#queue.pop();
    this.#counted(last, -1);
    this.#bytes -= last.bytes;
  }

  #overBound(): boolean {
    return this.size > this.#parts.options.limit || this.#bytes > this.#parts.options.limitBytes;
  }

  /**
   * Drops the oldest receipt of the lowest rank present; of results, the newest, because its device is most
   * likely still connected and can be told. Returns false when nothing can be dropped.
   */
  #makeRoom(): boolean {
    const rank = this.#counts.findIndex((count) => count > 0);
    if (rank === -1) return false;
    const newest = this.#queue.at(-1);
    if (rank === RANK.result && newest?.receipt.kind === 'result') {
      this.#queue.pop();
      this.#forget(newest);
      return true;
    }
    let at = Math.max(this.#search[rank] ?? 0, this.#head);
    let spooled = this.#queue[at];
    while (at < this.#queue.length && (!spooled || RANK[spooled.receipt.kind] !== rank)) {
      spooled = this.#queue[++at];
    }
    if (!spooled) return false;
    this.#search[rank] = at + 1;
    this.#queue[at] = undefined;
    this.#forget(spooled);
    return true;
  }

  #forget(spooled: Spooled): void {
    const { receipt, bytes } = spooled;
    this.#counted(spooled, -1);
    this.#bytes -= bytes;
    this.#compact();
    if (receipt.kind === 'result') this.#parts.onResultRefused(receipt);
    else this.#parts.metrics.receiptsDropped.add(receipt.kind);
  }

  #counted({ receipt }: Spooled, change: 1 | -1): void {
    const rank = RANK[receipt.kind];
    this.#counts[rank] = (this.#counts[rank] ?? 0) + change;
    this.#count += change;
  }

  #schedule(): void {
    if (this.#stopped || this.#appending) return;
    if (this.#retryMs === 0 && this.#count >= this.#parts.options.batch) {
      if (this.#timer) clearTimeout(this.#timer);
      this.#timer = null;
      void this.#append();
      return;
    }
    this.#timer ??= setTimeout(
      () => {
        this.#timer = null;
        void this.#append();
      },
      this.#retryMs > 0 ? this.#retryMs * (0.5 + Math.random() / 2) : this.#parts.options.delayMs,
    );
  }

  #take(): Spooled[] {
    const batch: Spooled[] = [];
    let bytes = 0;
    while (
      batch.length < this.#parts.options.batch &&
      bytes < BATCH_BYTES &&
      this.#head < this.#queue.length
    ) {
      const spooled = this.#queue[this.#head];
      this.#queue[this.#head++] = undefined;
      if (!spooled) continue;
      this.#counted(spooled, -1);
      batch.push(spooled);
      bytes += spooled.bytes;
    }
    this.#compact();
    return batch;
  }

  /** Frees the emptied front of the queue once that is worth the cost. */
  #compact(): void {
    if (this.#count === 0) {
      this.#queue = [];
      this.#head = 0;
      this.#search.fill(0);
    } else if (this.#head > 4_096 && this.#head * 2 > this.#queue.length) {
      const cut = this.#head;
      this.#queue = this.#queue.slice(cut);
      this.#head = 0;
      this.#search = this.#search.map((at) => Math.max(0, at - cut));
    } else if (this.#queue.length > 4_096 && this.#queue.length > this.#count * 4) {
      this.#queue = this.#queue.filter((spooled) => spooled !== undefined);
      this.#head = 0;
      this.#search.fill(0);
    }
  }

  async #append(): Promise<void> {
    if (this.#appending || this.#stopped) return;
    if (this.#batch.length === 0) this.#batch = this.#take();
    if (this.#batch.length === 0) return;
    this.#appending = true;
    try {
      const outcome = await this.#parts.receipts.append(
        this.#batch.map((spooled) => spooled.receipt),
        this.#batch.reduce((sum, { bytes }) => sum + bytes, 0),
      );
      if (outcome === 'full') throw new Error('the administration server is too far behind');
      this.#parts.metrics.receiptsAppended += this.#batch.length;
      for (const spooled of this.#batch) this.#bytes -= spooled.bytes;
      this.#batch = [];
      this.#retryMs = 0;
    } catch (error) {
      if (this.#retryMs === 0)
        this.#parts.log.warn({ err: error, spooled: this.size }, 'receipts wait for the bus');
      this.#parts.metrics.receiptsRetried++;
      this.#retryMs = Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, this.#retryMs * 2));
    } finally {
      this.#appending = false;
      this.#rounds++;
      const waiters = this.#waiters;
      this.#waiters = [];
      if (this.#retryMs === 0) for (const resume of waiters) resume();
      else this.#waiters = waiters;
      if (this.size > 0) this.#schedule();
    }
  }
}
