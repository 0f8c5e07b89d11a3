import type { Logger } from 'pino';
import type { LedgerEvent } from './store/records.ts';
import type { Events } from './store/store.ts';

const PAGE = 500;
const KEPT = 2000;

interface Subscriber {
  seq: number;
  onEvents: (events: LedgerEvent[]) => void;
  pumping: boolean;
}

/**
 * Delivers the ledger's events to subscribers in order, without gaps or repeats. One reader per process
 * follows the table and keeps the newest events while somebody listens; a subscriber that is further behind
 * reads the table itself until it has caught up.
 */
export class EventHub {
  readonly #events: Events;
  readonly #log: Logger;
  readonly #subscribers = new Set<Subscriber>();
  #recent: LedgerEvent[] = [];
  #last = 0;
  /** Nobody listened for a while, so newer events were not read. */
  #idle = false;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #stopping = false;
  #rounds = 0;

  constructor({ events, log }: { events: Events; log: Logger }) {
    this.#events = events;
    this.#log = log;
  }

  /** Completed polls, including those without a listener. */
  get rounds(): number {
    return this.#rounds;
  }

  async start(): Promise<void> {
    this.#last = (await this.#events.bounds()).last;
    // Other administration servers append too; `notify` announces this server's own events.
    this.#timer = setInterval(() => this.notify(), 500);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    this.#subscribers.clear();
    await this.#reading;
  }

  /** Events were appended. */
  notify(): void {
    if (this.#stopping) return;
    if (this.#subscribers.size === 0) {
      this.#idle = true;
      // An empty round, which shows that the loop still runs.
      this.#rounds++;
      return;
    }
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = this.#read()
      .catch((error) => this.#log.warn({ err: error }, 'events could not be read'))
      .finally(() => {
        this.#reading = undefined;
        this.#rounds++;
        if (this.#again) {
          this.#again = false;
          this.notify();
        }
      });
  }

  /**
   * Calls `onEvents` with all events numbered above `afterSeq`, past ones included. Returns a function that
   * stops it.
   */
  subscribe(afterSeq: number, onEvents: (events: LedgerEvent[]) => void): () => void {
    const subscriber: Subscriber = { seq: afterSeq, onEvents, pumping: false };
    this.#subscribers.add(subscriber);
    if (this.#idle) this.notify();
    else void this.#pump(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  async #read(): Promise<void> {
    if (this.#idle) {
      this.#last = (await this.#events.bounds()).last;
      this.#recent = [];
      this.#idle = false;
      for (const subscriber of this.#subscribers) void this.#pump(subscriber);
    }
    for (;;) {
      const events = await this.#events.after(this.#last, PAGE);
      const newest = events[events.length - 1];
      if (!newest) return;
      this.#last = newest.seq;
      this.#recent = [...this.#recent, ...events].slice(-KEPT);
      for (const subscriber of this.#subscribers) void this.#pump(subscriber);
      if (events.length < PAGE) return;
    }
  }

  async #pump(subscriber: Subscriber): Promise<void> {
    if (subscriber.pumping) return;
    subscriber.pumping = true;
    try {
      while (this.#subscribers.has(subscriber) && subscriber.seq < this.#last) {
        const first = this.#recent[0];
        const behind = first === undefined || subscriber.seq < first.seq - 1;
        const events = behind
          ? await this.#events.after(subscriber.seq, PAGE)
          : this.#recent.filter((event) => event.seq > subscriber.seq);
        const newest = events[events.length - 1];
        if (!newest || !this.#subscribers.has(subscriber)) break;
        subscriber.seq = newest.seq;
        subscriber.onEvents(events);
      }
    } catch (error) {
      this.#log.warn({ err: error }, 'events could not be read for a subscriber');
    } finally {
      subscriber.pumping = false;
    }
  }
}
