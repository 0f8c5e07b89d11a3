import {
  type Delivery,
  OUTBOX_MAX_ENTRIES,
  type OutboxEntry,
  type Outboxes,
  type OutboxRead,
  type Position,
} from '../bus.ts';
import { decode, encode } from '../encoding.ts';
import type { Histories } from './histories.ts';
import type { Keys } from './keys.ts';
import type { OwnCommands } from './owner.ts';
import { SCRIPTS } from './scripts/index.ts';
import type { Subscriptions } from './subscriptions.ts';

const START = '0-0';
/** An epoch that no outbox has. */
const OTHER_EPOCH = '-';

export class RedisOutboxes implements Outboxes {
  readonly #commands: OwnCommands;
  readonly #subscriptions: Subscriptions;
  readonly #keys: Keys;

  readonly #histories: Histories;
  readonly #announce: 'PUBLISH' | 'SPUBLISH';

  /** `sharded`: channels are, as in a cluster. */
  constructor(
    commands: OwnCommands,
    subscriptions: Subscriptions,
    keys: Keys,
    histories: Histories,
    sharded: boolean,
  ) {
    this.#commands = commands;
    this.#subscriptions = subscriptions;
    this.#keys = keys;
    this.#histories = histories;
    this.#announce = sharded ? 'SPUBLISH' : 'PUBLISH';
  }

  async append(incarnation: string, deliveries: readonly Delivery[]): Promise<'appended' | 'gone' | 'full'> {
    const answer = await this.#commands.run(
      SCRIPTS.appendDeliveries,
      [this.#keys.lease(incarnation), this.#keys.outbox(incarnation)],
      [OUTBOX_MAX_ENTRIES, this.#announce, this.#keys.outboxHint(incarnation), ...deliveries.map(encode)],
    );
    if (answer === 1) return 'appended';
    return answer === 0 ? 'gone' : 'full';
  }

  /**
   * The epoch in a position is that of the outbox and the history of the data that it was read in: in another
   * history what was appended last may be missing, or be numbered below the position.
   */
  async read(incarnation: string, position: Position | null, limit: number): Promise<OutboxRead> {
    const history = this.#histories.of(this.#keys.outbox(incarnation)) ?? '';
    const [knownEpoch = '', knownHistory = ''] = position?.epoch.split(' ') ?? [];
    const sameHistory = knownHistory === '' || history === '' || knownHistory === history;
    const [epoch, lost, found] = (await this.#commands.run(
      SCRIPTS.readOutbox,
      [this.#keys.epoch(incarnation), this.#keys.outbox(incarnation)],
      [sameHistory ? knownEpoch : OTHER_EPOCH, position?.offset ?? START, limit],
    )) as [Buffer, number, [Buffer, [Buffer, Buffer]][]];
    // A reader that already knows its outbox is gone (epoch '') is not told again.
    if (epoch.length === 0) {
      return { position: { epoch: '', offset: START }, entries: [], lost: position?.epoch !== '' };
    }
    const entries: OutboxEntry[] = found.map(([id, [, delivery]]) => ({
      offset: id.toString(),
      delivery: decode<Delivery>(delivery),
    }));
    const offset = entries.at(-1)?.offset ?? (lost === 1 ? START : (position?.offset ?? START));
    const positionEpoch = `${epoch.toString()} ${history || knownHistory}`;
    return { position: { epoch: positionEpoch, offset }, entries, lost: lost === 1 };
  }

  async trim(incarnation: string, position: Position): Promise<void> {
    if (position.epoch === '') return;
    await this.#commands.do(this.#keys.outbox(incarnation), (client) =>
      client.xtrim(this.#keys.outbox(incarnation), 'MINID', next(position.offset)),
    );
  }

  onHint(incarnation: string, onHint: () => void): Promise<() => Promise<void>> {
    return this.#subscriptions.on(this.#keys.outboxHint(incarnation), onHint);
  }
}

/** The lowest stream id above `id`. */
function next(id: string): string {
  const [ms, sequence] = id.split('-');
  return `${ms}-${BigInt(sequence ?? 0) + 1n}`;
}
