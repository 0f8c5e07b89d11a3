import { setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ASIDE_MAX, RECEIPTS_MAX_BYTES, RECEIPTS_MAX_ENTRIES, type Receipt, type Receipts } from '../bus.ts';
import {
  type Apply,
  applyTogether,
  CONSUME_DEFAULTS,
  CONSUMER_END_DEADLINE_MS,
  pauseAfterRejections,
  takeTogether,
} from '../receipt-batches.ts';
import { sleep } from '../sleep.ts';

interface Batch {
  receipts: readonly Receipt[];
  bytes: number;
  /** By the monotonic clock. */
  appendedAt: number;
  /** The first is 1. */
  number: number;
}

interface Consumer {
  name: string;
  ending: AbortController;
  /** Resolves when the consumer has ended. */
  ended: Promise<void>;
}

/**
 * Batches in arrival order. Handed out from a turn of the event loop of their own, never from inside
 * `append`.
 */
export class MemoryReceipts implements Receipts {
  /** The oldest first. */
  readonly aside: { receipt: unknown; why: string }[] = [];
  readonly #waiting: Batch[] = [];
  /** Appended and not dropped, the oldest first. */
  readonly #open = new Set<Batch>();
  readonly #consumers = new Set<Consumer>();
  readonly #redeliveries = new Set<NodeJS.Timeout>();
  readonly #assertRunning: () => void;
  readonly #log: Logger | undefined;
  #appended = 0;
  readonly #maxBytes: number;
  #bytes = 0;
  #wakeUps: (() => void)[] = [];

  constructor(assertRunning: () => void, log?: Logger, maxBytes = RECEIPTS_MAX_BYTES) {
    this.#maxBytes = maxBytes;
    this.#assertRunning = assertRunning;
    this.#log = log;
  }

  async append(batch: readonly Receipt[], bytes = 0): Promise<'appended' | 'full'> {
    this.#assertRunning();
    if (this.#open.size >= RECEIPTS_MAX_ENTRIES) return 'full';
    if (this.#open.size > 0 && this.#bytes + bytes > this.#maxBytes) return 'full';
    if (batch.length === 0) return 'appended';
    this.#bytes += bytes;
    const appended = { receipts: batch, bytes, appendedAt: performance.now(), number: ++this.#appended };
    this.#open.add(appended);
    this.#waiting.push(appended);
    this.#wake();
    return 'appended';
  }

  async consume(...[name, apply, options]: Parameters<Receipts['consume']>): Promise<() => Promise<void>> {
    this.#assertRunning();
    const ending = new AbortController();
    const consumer: Consumer = { name, ending, ended: Promise.resolve() };
    consumer.ended = this.#run(consumer, apply, { ...CONSUME_DEFAULTS, ...options });
    this.#consumers.add(consumer);
    return () => this.#end(consumer);
  }

  async putAside(wrong: readonly { receipt: unknown; why: string }[]): Promise<void> {
    this.#assertRunning();
    this.aside.push(...wrong);
    this.aside.splice(0, this.aside.length - ASIDE_MAX.receipts);
  }

  async backlog(): Promise<number> {
    this.#assertRunning();
    return this.#open.size;
  }

  async oldestAgeMs(): Promise<number> {
    this.#assertRunning();
    const [oldest] = this.#open;
    return oldest ? performance.now() - oldest.appendedAt : 0;
  }

  async progress(): Promise<{ appended: string; open: string | null; stream: string }> {
    this.#assertRunning();
    const [oldest] = this.#open;
    // It is lost only with everything that appended to it.
    return {
      appended: place(this.#appended),
      open: oldest ? place(oldest.number) : null,
      stream: 'memory',
    };
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => this.#end(consumer)));
    for (const timer of this.#redeliveries) clearTimeout(timer);
    this.#redeliveries.clear();
  }

  async #end(consumer: Consumer): Promise<void> {
    consumer.ending.abort();
    this.#wake();
    let deadline: NodeJS.Timeout | undefined;
    const tooLong = new Promise<void>((resolve) => {
      deadline = setTimeout(resolve, CONSUMER_END_DEADLINE_MS);
    });
    await Promise.race([consumer.ended, tooLong]);
    clearTimeout(deadline);
    this.#consumers.delete(consumer);
  }

  async #run(
    consumer: Consumer,
    apply: Apply,
    limits: { maxBatch: number; redeliverAfterMs: number },
  ): Promise<void> {
    const { signal } = consumer.ending;
    let rejections = 0;
    while (!signal.aborted) {
      await turn();
      const batches = takeTogether(this.#waiting, limits.maxBatch).filter((batch) => this.#open.has(batch));
      if (batches.length === 0) {
        if (!signal.aborted && this.#waiting.length === 0) await this.#somethingNew();
        continue;
      }
      const redelivery = this.#redeliverLater(batches, limits.redeliverAfterMs);
      try {
        await applyTogether(batches, limits.maxBatch, apply);
        this.#drop(batches, redelivery);
        rejections = 0;
      } catch (error) {
        rejections += 1;
        this.#log?.warn(
          { err: error, consumer: consumer.name },
          'receipts were not applied and will be retried',
        );
        await sleep(pauseAfterRejections(rejections), signal);
      }
    }
  }

  #drop(batches: readonly Batch[], redelivery: NodeJS.Timeout): void {
    clearTimeout(redelivery);
    this.#redeliveries.delete(redelivery);
    for (const batch of batches) if (this.#open.delete(batch)) this.#bytes -= batch.bytes;
  }

  /** Batches that are not dropped `afterMs` from now are handed to any consumer. */
  #redeliverLater(batches: readonly Batch[], afterMs: number): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#redeliveries.delete(timer);
      this.#waiting.unshift(...batches.filter((batch) => this.#open.has(batch)));
      this.#wake();
    }, afterMs);
    this.#redeliveries.add(timer);
    return timer;
  }

  #wake(): void {
    const wakeUps = this.#wakeUps;
    this.#wakeUps = [];
    for (const wakeUp of wakeUps) wakeUp();
  }

  #somethingNew(): Promise<void> {
    return new Promise((resolve) => this.#wakeUps.push(resolve));
  }
}

/** As digits that compare as text. */
function place(number: number): string {
  return String(number).padStart(16, '0');
}
