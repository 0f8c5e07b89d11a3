import type { Logger } from 'pino';
import {
  type Apply,
  applyTogether,
  CONSUMER_END_DEADLINE_MS,
  pauseAfterRejections,
  takeTogether,
} from '../receipt-batches.ts';
import { sleep } from './client.ts';
import { reasonOf } from './errors.ts';
import type { ReceiptStream, StreamBatch } from './receipt-stream.ts';

/**
 * Batches asked for at once, and about how many bytes; what is over `maxBatch` receipts waits here for the
 * next `apply`.
 */
const READ_COUNT = 256;
const READ_BYTES = 16 * 1024 * 1024;
/** Until it is known how long batches are. */
const FIRST_READ_COUNT = 16;
/** Pause before Redis is asked again after it was away, milliseconds. */
const AWAY_PAUSE_MS = 200;
/** A consumer asks at least every few seconds; one that was silent for so long is gone, milliseconds. */
const FORGOTTEN_AFTER_MS = 5 * 60_000;
const FORGET_INTERVAL_MS = 60_000;

/**
 * One loop: take over what others left, read what is new, apply, drop. Only what was applied is dropped;
 * everything else stays on this consumer's name in Redis until somebody takes it over, so this may end at any
 * point.
 */
export class ReceiptConsumer {
  readonly #stream: ReceiptStream;
  readonly #apply: Apply;
  readonly #limits: { maxBatch: number; redeliverAfterMs: number };
  readonly #log: Logger;
  readonly #ending = new AbortController();
  /** Handed out by Redis, not begun. */
  #waiting: StreamBatch[] = [];
  #rejections = 0;
  #readCount = FIRST_READ_COUNT;
  #nextClaimAt = 0;
  #nextForgetAt = 0;
  #away = false;
  #ended: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | null = null;

  constructor(
    stream: ReceiptStream,
    apply: Apply,
    limits: { maxBatch: number; redeliverAfterMs: number },
    log: Logger,
  ) {
    this.#stream = stream;
    this.#apply = apply;
    this.#limits = limits;
    this.#log = log.child({ consumer: stream.consumer });
  }

  start(): void {
    this.#stream.open();
    this.#ended = this.#run();
  }

  /** Servers changed. */
  follow(): void {
    this.#stream.follow();
  }

  /** Waits for the `apply` in progress, at most `CONSUMER_END_DEADLINE_MS`. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#ending.abort();
    let over = false;
    const ended = this.#ended.then(() => {
      over = true;
    });
    const deadline = new AbortController();
    const tooLong = sleep(CONSUMER_END_DEADLINE_MS, deadline.signal);
    // More than once: a wake-up may come just before the read it is meant for.
    for (let attempt = 0; !over && attempt < CONSUMER_END_DEADLINE_MS / 100; attempt += 1) {
      await this.#stream.wakeReader();
      const wait = new AbortController();
      await Promise.race([ended, sleep(100, wait.signal)]);
      wait.abort();
    }
    await Promise.race([ended, tooLong]);
    deadline.abort();
    if (!over) this.#log.warn('the consumer of receipts did not end in time');
    await this.#stream.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await this.#step();
        this.#away = false;
      } catch (error) {
        // While Redis is away the bus' status says so; here one line is enough.
        if (!this.#away) this.#log.warn({ reason: reasonOf(error) }, 'receipts cannot be consumed now');
        this.#away = true;
        await sleep(AWAY_PAUSE_MS, signal);
      }
    }
    await this.#leave();
  }

  async #step(): Promise<void> {
    if (this.#waiting.length === 0) {
      if (!this.#stream.ready) return await sleep(20, this.#ending.signal);
      await this.#claimLeftOver();
    }
    if (this.#waiting.length === 0) {
      const untilClaim = Math.max(this.#nextClaimAt - performance.now(), 1);
      this.#waiting = this.#measured(await this.#stream.read(this.#readCount, untilClaim));
    }
    if (this.#waiting.length > 0 && !this.#ending.signal.aborted) await this.#applySome();
  }

  /** Asks for fewer batches the next time when these are long. */
  #measured(batches: StreamBatch[]): StreamBatch[] {
    const longest = batches.reduce((most, { bytes }) => Math.max(most, bytes), 1);
    if (batches.length > 0)
      this.#readCount = Math.max(1, Math.min(READ_COUNT, Math.floor(READ_BYTES / longest)));
    return batches;
  }

  async #applySome(): Promise<void> {
    const batches = takeTogether(this.#waiting, this.#limits.maxBatch);
    try {
      await applyTogether(batches, this.#limits.maxBatch, this.#apply);
      this.#rejections = 0;
    } catch (error) {
      this.#rejections += 1;
      this.#log.warn({ err: error }, 'receipts were not applied, will come again');
      await sleep(pauseAfterRejections(this.#rejections), this.#ending.signal);
      return;
    }
    await this.#stream.drop(batches);
  }

  /** All of it, a handful at a time: applies in between, so that what was claimed is not left idle again. */
  async #claimLeftOver(): Promise<void> {
    if (performance.now() < this.#nextClaimAt) return;
    let cursor = '0-0';
    do {
      const claimed = await this.#stream.claim(cursor, this.#limits.redeliverAfterMs, this.#readCount);
      cursor = claimed.cursor;
      this.#waiting.push(...this.#measured(claimed.batches));
      while (this.#waiting.length > 0 && !this.#ending.signal.aborted) await this.#applySome();
    } while (cursor !== '0-0' && !this.#ending.signal.aborted);
    await this.#forgetDead();
    const interval = Math.min(Math.max(this.#limits.redeliverAfterMs / 4, 20), 5_000);
    this.#nextClaimAt = performance.now() + interval;
  }

  /** Servers that were killed leave their names in the group. */
  async #forgetDead(): Promise<void> {
    if (performance.now() < this.#nextForgetAt) return;
    this.#nextForgetAt = performance.now() + FORGET_INTERVAL_MS;
    const forgotten = await this.#stream.forgetIdle(FORGOTTEN_AFTER_MS);
    if (forgotten > 0) this.#log.info({ forgotten }, 'consumers that were gone are forgotten');
  }

  async #leave(): Promise<void> {
    try {
      await this.#stream.leave(this.#waiting, this.#limits.redeliverAfterMs);
    } catch (error) {
      this.#log.debug(
        { reason: reasonOf(error) },
        'left without giving back; what is open comes again in time',
      );
    }
  }
}
