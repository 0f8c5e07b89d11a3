import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import { ASIDE_MAX, RECEIPTS_MAX_ENTRIES, type Receipt, type Receipts } from '../bus.ts';
import { encode } from '../encoding.ts';
import { type Apply, CONSUME_DEFAULTS } from '../receipt-batches.ts';
import { reasonOf } from './errors.ts';
import type { WatchedLink } from './health.ts';
import type { Histories, HistoryWatch } from './histories.ts';
import type { Keys } from './keys.ts';
import type { Authenticator } from './macs/authenticator.ts';
import type { OwnCommands } from './owner.ts';
import { ReceiptConsumer } from './receipt-consumer.ts';
import { ReceiptStream } from './receipt-stream.ts';
import { SCRIPTS } from './scripts/index.ts';
import type { RedisTarget } from './settings.ts';
import type { Topology } from './topology.ts';

/** Recent appends are kept for as long as replicas may lag, in milliseconds and in bytes. */
const KEPT_MS = 5_000;
const KEPT_BYTES = 4 * 1024 * 1024;
/** How long appending them again is attempted, milliseconds. */
const APPENDED_AGAIN_MS = 30_000;

export interface RedisReceiptsParts {
  target: RedisTarget;
  topology: Topology;
  commands: OwnCommands;
  keys: Keys;
  histories: Histories;
  authenticator: Authenticator;
  /** Of all batches that wait. */
  maxBytes: number;
  /** Has the connection of every consumer monitored. */
  watch: (watched: WatchedLink) => () => void;
  log: Logger;
}

export class RedisReceipts implements Receipts {
  readonly #with: RedisReceiptsParts;
  readonly #consumers = new Set<ReceiptConsumer>();
  #history: HistoryWatch;
  /** The oldest first. */
  #kept: { at: number; batch: Buffer }[] = [];
  #keptBytes = 0;
  #stopped = false;
  /** Runs of `#appendAgain` under way. */
  #again = 0;

  constructor(parts: RedisReceiptsParts) {
    this.#with = parts;
    this.#history = parts.histories.watch([parts.keys.receipts]);
  }

  async append(batch: readonly Receipt[]): Promise<'appended' | 'full'> {
    if (batch.length === 0) return 'appended';
    const encoded = encode(batch);
    const answer = await this.#append(encoded);
    if (answer !== 1) return 'full';
    this.#keep(encoded);
    return 'appended';
  }

  async consume(
    name: string,
    apply: Apply,
    options: { maxBatch?: number; redeliverAfterMs?: number } = {},
  ): Promise<() => Promise<void>> {
    const { keys, watch, log } = this.#with;
    const stream = new ReceiptStream(this.#with, name);
    const consumer = new ReceiptConsumer(stream, apply, { ...CONSUME_DEFAULTS, ...options }, log);
    await stream.createGroup();
    const endWatch = watch({ key: keys.receipts, link: stream.link });
    consumer.start();
    this.#consumers.add(consumer);
    return async () => {
      endWatch();
      await consumer.stop();
      this.#consumers.delete(consumer);
    };
  }

  async putAside(wrong: readonly { receipt: unknown; why: string }[]): Promise<void> {
    const key = this.#with.keys.deadReceipts;
    // Only the last of several would be kept.
    for (const { receipt, why } of wrong.slice(-ASIDE_MAX.receipts)) {
      const encoded = encode(receipt);
      const kept = encoded.length > ASIDE_MAX.bytes ? '' : encoded;
      await this.#with.commands.do(key, (client) =>
        client.xadd(key, 'MAXLEN', ASIDE_MAX.receipts, '*', 'why', why, 'r', kept),
      );
    }
  }

  backlog(): Promise<number> {
    return this.#with.commands.do(this.#with.keys.receipts, (client) =>
      client.xlen(this.#with.keys.receipts),
    );
  }

  async oldestAgeMs(): Promise<number> {
    const age = await this.#with.commands.run(SCRIPTS.oldestReceipts, [this.#with.keys.receipts], []);
    return Math.max(0, Number(age));
  }

  async progress(): Promise<{ appended: string; open: string | null; stream: string }> {
    const { commands, keys } = this.#with;
    const answer = await commands.run(
      SCRIPTS.receiptsProgress,
      [keys.receipts, keys.receiptsStream],
      [nanoid()],
    );
    const [last, oldest, stream] = (answer as string[]).map(String);
    return { appended: place(last ?? ''), open: oldest ? place(oldest) : null, stream: stream ?? '' };
  }

  /** Servers changed. */
  follow(): void {
    for (const consumer of this.#consumers) consumer.follow();
    this.historyChanged();
  }

  /**
   * A new primary may lack the latest appends without anyone noticing, so they are appended again. Most of
   * them arrive twice, as after the death of a consumer; `apply` is idempotent.
   */
  historyChanged(): void {
    if (!this.#history.changed()) return;
    this.#history = this.#with.histories.watch([this.#with.keys.receipts]);
    this.mayBeLost();
  }

  /** Somebody may have emptied Redis: the latest appends are repeated at once. */
  mayBeLost(): void {
    const again = this.#kept;
    this.#kept = [];
    this.#keptBytes = 0;
    if (again.length === 0) return;
    this.#again++;
    void this.#appendAgain(again.map(({ batch }) => batch)).finally(() => this.#again--);
  }

  /** Earlier appends may still be missing: nobody may claim that they are there. */
  get mayLack(): boolean {
    return this.#again > 0;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#consumers].map((consumer) => consumer.stop()));
    this.#consumers.clear();
  }

  /**
   * The number is new even if the batch is appended again. Nobody remembers these numbers: applying a batch
   * twice changes nothing (ARCHITECTURE.md, "Trust").
   */
  #append(batch: Buffer): Promise<unknown> {
    const { commands, keys, maxBytes, authenticator } = this.#with;
    const from = { sender: authenticator.sender, number: authenticator.nextNumber() };
    return commands.run(
      SCRIPTS.appendReceipts,
      [keys.receipts, keys.receiptBytes],
      [
        ...[RECEIPTS_MAX_ENTRIES, batch, commands.installation, maxBytes],
        authenticator.byGateway('receipts', from, [batch]) ?? '',
      ],
    );
  }

  #keep(batch: Buffer): void {
    const now = performance.now();
    // A copy, because a small value may be a view into a large buffer.
    this.#kept.push({ at: now, batch: Buffer.from(batch) });
    this.#keptBytes += batch.length;
    // Only here, not by a timer: while Redis is unavailable nothing is appended, and the latest appends may
    // be missing.
    let forgotten = 0;
    for (const { at, batch } of this.#kept) {
      if (now - at <= KEPT_MS && this.#keptBytes <= KEPT_BYTES) break;
      this.#keptBytes -= batch.length;
      forgotten += 1;
    }
    this.#kept.splice(0, forgotten);
  }

  async #appendAgain(batches: readonly Buffer[]): Promise<void> {
    const { log } = this.#with;
    const deadline = performance.now() + APPENDED_AGAIN_MS;
    for (let index = 0; index < batches.length; ) {
      const batch = batches[index] as Buffer;
      const reason = await this.#append(batch).then(
        (answer) => (answer === 1 ? null : 'Redis is full'),
        reasonOf,
      );
      if (reason === null) {
        this.#keep(batch);
        index += 1;
        continue;
      }
      if (this.#stopped || performance.now() > deadline) {
        log.warn(
          { reason, batches: batches.length - index },
          'receipts from before a change of Redis were not appended again; devices will repeat them',
        );
        return;
      }
      // The new primary is known a moment before the connection to it is in use.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    log.info({ batches: batches.length }, 'receipts from before a change of Redis were appended again');
  }
}

/** An id of the stream, `<ms>-<number>`, in digits that compare as text; '' comes before all. */
function place(id: string): string {
  if (id === '') return '';
  const [ms = '', number = ''] = id.split('-');
  return `${ms.padStart(16, '0')}-${number.padStart(20, '0')}`;
}
