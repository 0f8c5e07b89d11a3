import type { Logger } from 'pino';
import { ASIDE_MAX, BusUnavailable, type Receipt } from '../bus.ts';
import { asBusError, reasonOf, replyCode } from './errors.ts';
import type { Keys } from './keys.ts';
import { Link } from './link.ts';
import type { Authenticator, MacFault } from './macs/authenticator.ts';
import type { OwnCommands } from './owner.ts';
import { readReceipts } from './receipt-entry.ts';
import { SCRIPTS } from './scripts/index.ts';
import { type Endpoint, endpointName, type RedisTarget } from './settings.ts';
import type { Topology } from './topology.ts';

const GROUP = 'ledger';
/** Consumer name for returned batches: nobody reads under it. */
const NOBODY = 'nobody';
/** Undecodable entries kept for a person to inspect. */
const MAX_DEAD_ENTRIES = ASIDE_MAX.receipts;
/** Names forgotten in one call. */
const MAX_FORGOTTEN = 100;
/** Longest wait of one blocking read; the connection counts as dead when it says nothing for much longer. */
const BLOCK_MS = 2_000;
const SOCKET_TIMEOUT_MS = 4_000;

export interface StreamBatch {
  id: string;
  receipts: readonly Receipt[];
  bytes: number;
}

export interface ReceiptStreamParts {
  target: RedisTarget;
  topology: Topology;
  commands: OwnCommands;
  keys: Keys;
  authenticator: Authenticator;
  log: Logger;
}

type RawEntry = [id: Buffer, fields: Buffer[] | null];

/**
 * The stream of receipts as one consumer of its group sees it. Reads block, so they have a connection of
 * their own.
 */
export class ReceiptStream {
  readonly consumer: string;
  readonly link: Link;
  readonly #topology: Topology;
  readonly #commands: OwnCommands;
  readonly #keys: Keys;
  readonly #authenticator: Authenticator;
  readonly #log: Logger;
  #readerId: number | null = null;
  /** When Redis took the newest batch that this process read. */
  #newest = 0;

  constructor(
    { target, topology, commands, keys, authenticator, log }: ReceiptStreamParts,
    consumer: string,
  ) {
    this.consumer = consumer;
    this.#authenticator = authenticator;
    this.#topology = topology;
    this.#commands = commands;
    this.#keys = keys;
    this.#log = log;
    this.link = new Link(
      target,
      () => this.#locate(),
      { socketTimeout: SOCKET_TIMEOUT_MS },
      {
        prepare: async ({ client }) => {
          this.#readerId = Number(await client.client('ID'));
        },
        usable: () => {},
        lost: ({ reason }) => log.debug({ reason }, 'receipts connection'),
      },
    );
  }

  open(): void {
    this.link.open();
  }

  close(): Promise<void> {
    return this.link.close();
  }

  get ready(): boolean {
    return this.link.usable;
  }

  /** Servers changed: the stream may be elsewhere. */
  follow(): void {
    const place = this.#topology.placeOf(this.#keys.receipts);
    const current = place === null ? null : this.#topology.current(place);
    if (current === null || this.link.endpoint === null || endpointName(current) === this.link.server) return;
    this.link.renew(`${this.link.server}: the stream is no longer there`);
  }

  /** Idempotent. A recreated group starts at the oldest entry, so nothing is skipped. */
  async createGroup(): Promise<void> {
    try {
      await this.#commands.do(this.#keys.receipts, (client) =>
        client.xgroup('CREATE', this.#keys.receipts, GROUP, '0', 'MKSTREAM'),
      );
    } catch (error) {
      if (replyCode(error) !== 'BUSYGROUP') throw error;
    }
  }

  /** New batches for this consumer; waits up to `blockMs` for one. Rejects with `BusUnavailable`. */
  async read(count: number, blockMs: number): Promise<StreamBatch[]> {
    this.#commands.assertOwn();
    const answer = (await this.#withGroup(() =>
      this.link.client.xreadgroupBuffer(
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
    // Another installation's receipts stay in the stream for their own installation.
    this.#commands.assertOwn();
    const entries = answer?.[0]?.[1] ?? [];
    const batches = await this.#decode(entries);
    for (const [id] of entries) this.#newest = this.#takenAt(id.toString());
    return batches;
  }

  /** Ends a waiting `read` now, with an empty result. */
  async wakeReader(): Promise<void> {
    const id = this.#readerId;
    if (id === null || !this.ready) return;
    try {
      await this.#commands.do(this.#keys.receipts, (client) => client.client('UNBLOCK', id));
    } catch (error) {
      this.#log.debug({ reason: reasonOf(error) }, 'cannot wake the receipts reader; its read will time out');
    }
  }

  /**
   * Claims batches that some consumer received at least `idleMs` ago and has not dropped, from `cursor` on.
   */
  async claim(
    cursor: string,
    idleMs: number,
    count: number,
  ): Promise<{ cursor: string; batches: StreamBatch[] }> {
    const [next, entries] = (await this.#withGroup(() =>
      this.#commands.do(this.#keys.receipts, (client) =>
        client.xautoclaimBuffer(this.#keys.receipts, GROUP, this.consumer, idleMs, cursor, 'COUNT', count),
      ),
    )) as [Buffer, RawEntry[]];
    return { cursor: next.toString(), batches: await this.#decode(entries) };
  }

  async drop(batches: readonly StreamBatch[]): Promise<void> {
    await this.#commands.run(
      SCRIPTS.dropReceipts,
      [this.#keys.receipts, this.#keys.receiptBytes],
      [GROUP, ...batches.flatMap(({ id, bytes }) => [id, bytes])],
    );
  }

  /** Leaves the group. Other consumers get `notBegun` at once, because it is marked as idle for `idleMs`. */
  async leave(notBegun: readonly StreamBatch[], idleMs: number): Promise<void> {
    await this.#commands.run(
      SCRIPTS.leaveReceipts,
      [this.#keys.receipts],
      [GROUP, this.consumer, idleMs, NOBODY, ...notBegun.map(({ id }) => id)],
    );
  }

  /** Forgets consumers without pending batches that were silent for `idleMs`: they were killed. */
  async forgetIdle(idleMs: number): Promise<number> {
    const forgotten = await this.#withGroup(() =>
      this.#commands.run(
        SCRIPTS.forgetConsumers,
        [this.#keys.receipts],
        [GROUP, idleMs, MAX_FORGOTTEN, this.consumer],
      ),
    );
    return Number(forgotten);
  }

  async #locate(): Promise<Endpoint> {
    const place = this.#topology.placeOf(this.#keys.receipts);
    if (place === null) throw new BusUnavailable(this.#topology.problem() ?? 'nobody serves the receipts');
    return this.#topology.locate(place);
  }

  /** A Redis that restarted empty has no group: create it again and repeat the command. */
  async #withGroup<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      // A read that was waiting on a former primary.
      if (replyCode(error) === 'READONLY' || replyCode(error) === 'MOVED') this.#topology.look();
      if (replyCode(error) !== 'NOGROUP') throw asBusError(error);
      this.#log.warn('the receipts stream is gone because Redis lost its data; creating a new one');
      await this.#commands.lookAgain();
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
      const entry = { takenAt: this.#takenAt(id), fields };
      const receipts = await readReceipts(entry, this.#commands.installation, this.#authenticator);
      if (receipts === 'foreign') {
        // They come from gateways that have not noticed yet that this Redis belongs to another installation.
        this.#log.warn({ entry: id }, 'dropping receipts of another installation');
        await this.drop([{ id, receipts: [], bytes: fields[1]?.length ?? 0 }]);
      } else if (typeof receipts === 'string') {
        if (receipts === 'forged') this.#authenticator.refusals.refuse('receipts', id);
        await this.#bury(id, receipts);
      } else batches.push({ id, receipts, bytes: fields[1]?.length ?? 0 });
    }
    return batches;
  }

  /**
   * When Redis took an entry, milliseconds since the Unix epoch. Its id says so, and whoever empties the
   * stream can make ids up: what comes after another entry is no older than that.
   */
  #takenAt(id: string): number {
    return Math.max(this.#newest, Number(id.split('-', 1)[0]));
  }

  async #bury(id: string, why: 'malformed' | MacFault): Promise<void> {
    this.#log.error({ entry: id, why }, 'moved aside a batch of receipts that cannot be used');
    await this.#commands.run(
      SCRIPTS.buryReceipts,
      [this.#keys.receipts, this.#keys.deadReceipts, this.#keys.receiptBytes],
      [GROUP, id, MAX_DEAD_ENTRIES],
    );
  }
}
