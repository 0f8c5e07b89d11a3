import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { Receipt } from '../bus.ts';
import { decode } from '../encoding.ts';
import { close, newClient, open } from './client.ts';
import type { Commands } from './commands.ts';
import { asBusError, reasonOf, replyCode } from './errors.ts';
import type { Keys } from './keys.ts';
import { SCRIPTS } from './scripts/index.ts';

const GROUP = 'ledger';
/** Consumer name that batches given back in good order are put on: nobody reads under it. */
const NOBODY = 'nobody';
/** Undecodable entries kept for a person to look at. */
const MAX_DEAD_ENTRIES = 1_000;
/** Longest wait of one blocking read; the connection counts as dead when it says nothing for much longer. */
const BLOCK_MS = 2_000;
const SOCKET_TIMEOUT_MS = 10_000;

export interface StreamBatch {
  id: string;
  receipts: readonly Receipt[];
}

type RawEntry = [id: Buffer, fields: Buffer[] | null];

/** The stream of receipts as one consumer of its group sees it. Reads block, so they have a connection of their own. */
export class ReceiptStream {
  readonly consumer: string;
  readonly #commands: Commands;
  readonly #keys: Keys;
  readonly #log: Logger;
  readonly #reader: Redis;
  #readerId: number | null = null;

  constructor(url: string, commands: Commands, keys: Keys, consumer: string, log: Logger) {
    this.consumer = consumer;
    this.#commands = commands;
    this.#keys = keys;
    this.#log = log;
    this.#reader = newClient(url, { socketTimeout: SOCKET_TIMEOUT_MS });
    this.#reader.on('error', (error: Error) => log.debug({ reason: reasonOf(error) }, 'receipts connection'));
    this.#reader.on('ready', () => {
      this.#reader.client('ID').then(
        (id) => {
          this.#readerId = Number(id);
        },
        (error: unknown) => log.debug({ reason: reasonOf(error) }, 'receipts connection'),
      );
    });
  }

  open(): void {
    open(this.#reader);
  }

  close(): Promise<void> {
    return close(this.#reader);
  }

  get ready(): boolean {
    return this.#reader.status === 'ready';
  }

  /** Idempotent. A group made anew starts at the oldest entry, so nothing is skipped. */
  async createGroup(): Promise<void> {
    try {
      await this.#commands.do((client) =>
        client.xgroup('CREATE', this.#keys.receipts, GROUP, '0', 'MKSTREAM'),
      );
    } catch (error) {
      if (replyCode(error) !== 'BUSYGROUP') throw error;
    }
  }

  /** New batches for this consumer; waits up to `blockMs` for one. Rejects with `BusUnavailable`. */
  async read(count: number, blockMs: number): Promise<StreamBatch[]> {
    const answer = (await this.#withGroup(() =>
      this.#reader.xreadgroupBuffer(
        'GROUP',
        GROUP,
        this.consumer,
        'COUNT',
        count,
        'BLOCK',
        Math.ceil(Math.min(blockMs, BLOCK_MS)),
        'STREAMS',
        this.#keys.receipts,
        '>',
      ),
    )) as [Buffer, RawEntry[]][] | null;
    return this.#decode(answer?.[0]?.[1] ?? []);
  }

  /** Lets a `read` that waits answer now, with nothing. */
  async wakeReader(): Promise<void> {
    const id = this.#readerId;
    if (id === null || !this.ready) return;
    try {
      await this.#commands.do((client) => client.client('UNBLOCK', id));
    } catch (error) {
      this.#log.debug(
        { reason: reasonOf(error) },
        'the receipts reader was not woken; its read ends by itself',
      );
    }
  }

  /** Batches that some consumer was handed `idleMs` ago and has not dropped, from `cursor` on; now this one's. */
  async claim(
    cursor: string,
    idleMs: number,
    count: number,
  ): Promise<{ cursor: string; batches: StreamBatch[] }> {
    const [next, entries] = (await this.#withGroup(() =>
      this.#commands.do((client) =>
        client.xautoclaimBuffer(this.#keys.receipts, GROUP, this.consumer, idleMs, cursor, 'COUNT', count),
      ),
    )) as [Buffer, RawEntry[]];
    return { cursor: next.toString(), batches: await this.#decode(entries) };
  }

  async drop(batches: readonly StreamBatch[]): Promise<void> {
    await this.#commands.run(
      SCRIPTS.dropReceipts,
      [this.#keys.receipts],
      [GROUP, ...batches.map(({ id }) => id)],
    );
  }

  /** Leaves the group; `notBegun` goes to others, who see it as idle for `idleMs` already. */
  async leave(notBegun: readonly StreamBatch[], idleMs: number): Promise<void> {
    await this.#commands.run(
      SCRIPTS.leaveReceipts,
      [this.#keys.receipts],
      [GROUP, this.consumer, idleMs, NOBODY, ...notBegun.map(({ id }) => id)],
    );
  }

  /** A Redis that restarted empty has no group: it is made again, and the command asked once more. */
  async #withGroup<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      if (replyCode(error) !== 'NOGROUP') throw asBusError(error);
      this.#log.warn('the receipts stream is gone, Redis lost its data; starting it anew');
      await this.createGroup();
      return await command().catch((again) => {
        throw asBusError(again);
      });
    }
  }

  async #decode(entries: readonly RawEntry[]): Promise<StreamBatch[]> {
    const batches: StreamBatch[] = [];
    for (const [rawId, fields] of entries) {
      const id = rawId.toString();
      // Claimed, but dropped by its former consumer in the meantime (Redis before 7 still names it).
      if (fields === null) continue;
      const receipts = decodeBatch(fields);
      if (receipts === null) await this.#bury(id);
      else batches.push({ id, receipts });
    }
    return batches;
  }

  async #bury(id: string): Promise<void> {
    this.#log.error({ entry: id }, 'a batch of receipts cannot be decoded, moved aside');
    await this.#commands.run(
      SCRIPTS.buryReceipts,
      [this.#keys.receipts, this.#keys.deadReceipts],
      [GROUP, id, MAX_DEAD_ENTRIES],
    );
  }
}

/** `null`: not what `append` writes. */
function decodeBatch(fields: readonly Buffer[]): Receipt[] | null {
  const [name, value] = fields;
  if (name?.toString() !== 'b' || value === undefined) return null;
  try {
    const receipts = decode<Receipt[]>(value);
    const whole = Array.isArray(receipts) && receipts.every((receipt) => typeof receipt?.kind === 'string');
    return whole ? receipts : null;
  } catch {
    return null;
  }
}
