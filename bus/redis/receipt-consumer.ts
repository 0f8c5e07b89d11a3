import type { Logger } from 'pino';
import {
  type Apply,
  applyTogether,
  CONSUMER_END_DEADLINE_MS,
  pauseAfterRejections,
  takeTogether,
} from '../receipt-batches.ts';
import { sleep } from '../sleep.ts';
import { reasonOf } from './errors.ts';
import type { ReceiptStream, StreamBatch } from './receipt-stream.ts';

/**
 * Batches requested at once, and their approximate bytes; receipts beyond `maxBatch` wait here for the next
 * `apply`.
 */
const READ_COUNT = 256;
const READ_BYTES = 16 * 1024 * 1024;
/** Until the size of batches is known. */
const FIRST_READ_COUNT = 16;
/** Pause before the next request after Redis was unavailable, milliseconds. */
const AWAY_PAUSE_MS = 200;
/** A consumer polls at least every few seconds; one that was silent for this long is gone, milliseconds. */
const FORGOTTEN_AFTER_MS = 5 * 60_000;
const FORGET_INTERVAL_MS = 60_000;

/**
 * One loop: take over batches that others left, read new ones, apply, drop. Only applied batches are dropped.
 * All others stay under this consumer's name in Redis until another consumer takes them over, so the loop may
 * end at any point.
 */
export class ReceiptConsumer {
  readonly #stream: ReceiptStream;
  readonly #apply: Apply;
  readonly #limits: { maxBatch: number; redeliverAfterMs: number };
  readonly #log: Logger;
  readonly #ending = new AbortController();
  /** Received from Redis, not begun. */
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
    // More than once: a wake-up may arrive just before the read that it should end.
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
        // While Redis is unavailable, the status of the bus says so; one line is enough here.
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

  /** Requests fewer batches next time when these are large. */
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
      this.#log.warn({ err: error }, 'receipts were not applied and will be retried');
      await sleep(pauseAfterRejections(this.#rejections), this.#ending.signal);
      return;
    }
    await this.#stream.drop(batches);
  }

  /**
   * Takes over everything, a handful at a time, and applies in between, so that claimed batches do not become
   * idle again.
   */
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

  /** Killed servers leave their names in the group. */
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
        'consumer left without returning its batches; they will be redelivered',
      );
    }
  }
}
