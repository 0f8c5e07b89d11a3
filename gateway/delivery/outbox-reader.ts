/**
 * Reads this worker's outbox from its own position, on a hint and at an interval, and hands each entry to
 * `delivery.ts`. Delivered entries are trimmed soon after. One reader serves one lease; the next lease has a
 * new outbox and a new reader.
 */
import type { Logger } from 'pino';
import type { OutboxEntry, Outboxes, Position } from '../../bus/bus.ts';

const BATCH = 200;
/**
 * Delivered entries are trimmed at most this often, or after this many entries: trimming costs as much as
 * reading.
 */
const TRIM_EVERY_MS = 250;
const TRIM_ENTRIES = 2_000;

export interface OutboxReaderEvents {
  deliver(entries: readonly OutboxEntry[]): Promise<void>;
  /** The outbox was replaced: its contents are gone. */
  lost(): void;
}

export interface OutboxReaderParts {
  outboxes: Outboxes;
  incarnation: string;
  pollMs: number;
  events: OutboxReaderEvents;
  log: Logger;
}

export class OutboxReader {
  readonly #parts: OutboxReaderParts;
  #position: Position | null = null;
  /** Entries handed over and not trimmed. */
  #untrimmed = 0;
  #trimmedAt = Number.NEGATIVE_INFINITY;
  #unsubscribe: (() => Promise<void>) | null = null;
  #subscribing = false;
  #timer: NodeJS.Timeout | null = null;
  #reading: Promise<void> | null = null;
  #hinted = false;
  #stopped = false;
  #failing = false;
  #rounds = 0;

  constructor(parts: OutboxReaderParts) {
    this.#parts = parts;
  }

  /** Completed reads, whose entries are delivered. */
  get rounds(): number {
    return this.#rounds;
  }

  start(): void {
    this.#timer = setInterval(() => {
      void this.#subscribe();
      this.read();
    }, this.#parts.pollMs);
    void this.#subscribe();
    this.read();
  }

  /** Reads soon; a call during a read makes it read once more. */
  read(): void {
    if (this.#stopped) return;
    this.#hinted = true;
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = null;
      // A hint may arrive between the last check of the flag and here.
      if (this.#hinted && !this.#failing) this.read();
    });
  }

  /** Finishes the current delivery first. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#hinted = false;
    if (this.#timer) clearInterval(this.#timer);
    await this.#reading;
    await this.#endSubscription();
  }

  async #trim(position: Position): Promise<void> {
    const now = performance.now();
    if (this.#untrimmed === 0) return;
    if (this.#untrimmed < TRIM_ENTRIES && now - this.#trimmedAt < TRIM_EVERY_MS) return;
    await this.#parts.outboxes.trim(this.#parts.incarnation, position);
    this.#untrimmed = 0;
    this.#trimmedAt = now;
  }

  async #subscribe(): Promise<void> {
    if (this.#unsubscribe || this.#subscribing || this.#stopped) return;
    this.#subscribing = true;
    try {
      this.#unsubscribe = await this.#parts.outboxes.onHint(this.#parts.incarnation, () => this.read());
      // An entry may have arrived before the subscription was ready.
      this.read();
    } catch (error) {
      this.#parts.log.debug({ err: error }, 'no hints for the outbox yet');
    } finally {
      this.#subscribing = false;
    }
    if (this.#stopped) await this.#endSubscription();
  }

  async #endSubscription(): Promise<void> {
    const unsubscribe = this.#unsubscribe;
    this.#unsubscribe = null;
    try {
      await unsubscribe?.();
    } catch (error) {
      this.#parts.log.debug({ err: error }, 'hints not ended');
    }
  }

  async #readAll(): Promise<void> {
    try {
      let more = false;
      while ((this.#hinted || more) && !this.#stopped) {
        this.#hinted = false;
        const { position, entries, lost } = await this.#parts.outboxes.read(
          this.#parts.incarnation,
          this.#position,
          BATCH,
        );
        if (this.#stopped) return;
        if (lost) this.#parts.events.lost();
        await this.#parts.events.deliver(entries);
        this.#position = position;
        this.#rounds++;
        more = entries.length === BATCH;
        this.#untrimmed += entries.length;
        await this.#trim(position);
      }
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#parts.log.warn({ err: error }, 'outbox not read: trying again');
      this.#failing = true;
      this.#rounds++;
    }
  }
}
