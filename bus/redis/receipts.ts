import type { Logger } from 'pino';
import { RECEIPTS_MAX_ENTRIES, type Receipt, type Receipts } from '../bus.ts';
import { encode } from '../encoding.ts';
import { type Apply, CONSUME_DEFAULTS } from '../receipt-batches.ts';
import type { Commands } from './commands.ts';
import type { Keys } from './keys.ts';
import { ReceiptConsumer } from './receipt-consumer.ts';
import { ReceiptStream } from './receipt-stream.ts';
import { SCRIPTS } from './scripts/index.ts';

export class RedisReceipts implements Receipts {
  readonly #url: string;
  readonly #commands: Commands;
  readonly #keys: Keys;
  readonly #log: Logger;
  readonly #consumers = new Set<ReceiptConsumer>();

  constructor(url: string, commands: Commands, keys: Keys, log: Logger) {
    this.#url = url;
    this.#commands = commands;
    this.#keys = keys;
    this.#log = log;
  }

  async append(batch: readonly Receipt[]): Promise<'appended' | 'full'> {
    if (batch.length === 0) return 'appended';
    const answer = await this.#commands.run(
      SCRIPTS.appendReceipts,
      [this.#keys.receipts],
      [RECEIPTS_MAX_ENTRIES, encode(batch)],
    );
    return answer === 1 ? 'appended' : 'full';
  }

  async consume(
    name: string,
    apply: Apply,
    options: { maxBatch?: number; redeliverAfterMs?: number } = {},
  ): Promise<() => Promise<void>> {
    const stream = new ReceiptStream(this.#url, this.#commands, this.#keys, name, this.#log);
    const consumer = new ReceiptConsumer(stream, apply, { ...CONSUME_DEFAULTS, ...options }, this.#log);
    await stream.createGroup();
    consumer.start();
    this.#consumers.add(consumer);
    return async () => {
      await consumer.stop();
      this.#consumers.delete(consumer);
    };
  }

  backlog(): Promise<number> {
    return this.#commands.do((client) => client.xlen(this.#keys.receipts));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.stop()));
    this.#consumers.clear();
  }
}
