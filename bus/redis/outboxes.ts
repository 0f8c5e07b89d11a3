import {
  type Delivery,
  OUTBOX_MAX_ENTRIES,
  type OutboxEntry,
  type Outboxes,
  type OutboxRead,
  type Position,
} from '../bus.ts';
import { encode } from '../encoding.ts';
import type { Histories } from './histories.ts';
import type { Keys } from './keys.ts';
import type { LeaseRecords } from './lease-records.ts';
import type { Authenticator } from './macs/authenticator.ts';
import { AuthenticatedEntries, GROUP_MAX, groupMac, type RawEntry } from './outbox-entries.ts';
import type { OwnCommands } from './owner.ts';
import { SCRIPTS } from './scripts/index.ts';
import type { Subscriptions } from './subscriptions.ts';

const START = '0-0';
/** An epoch that no outbox has. */
const OTHER_EPOCH = '-';

export interface RedisOutboxesParts {
  commands: OwnCommands;
  subscriptions: Subscriptions;
  keys: Keys;
  histories: Histories;
  /** Channels are, as in a cluster. */
  sharded: boolean;
  authenticator: Authenticator;
  records: Pick<LeaseRecords, 'keyOf'>;
}

export class RedisOutboxes implements Outboxes {
  readonly #commands: OwnCommands;
  readonly #subscriptions: Subscriptions;
  readonly #keys: Keys;

  readonly #histories: Histories;
  readonly #announce: 'PUBLISH' | 'SPUBLISH';
  readonly #authenticator: Authenticator;
  readonly #records: Pick<LeaseRecords, 'keyOf'>;
  /** By incarnation: what this process reads. */
  readonly #entries = new Map<string, AuthenticatedEntries>();

  constructor(parts: RedisOutboxesParts) {
    const { commands, subscriptions, keys, histories, sharded, authenticator, records } = parts;
    this.#authenticator = authenticator;
    this.#records = records;
    this.#commands = commands;
    this.#subscriptions = subscriptions;
    this.#keys = keys;
    this.#histories = histories;
    this.#announce = sharded ? 'SPUBLISH' : 'PUBLISH';
  }

  async append(incarnation: string, deliveries: readonly Delivery[]): Promise<'appended' | 'gone' | 'full'> {
    const encoded = deliveries.map(encode);
    const groups = await this.#authenticated(incarnation, encoded);
    if (groups === null) return 'gone';
    const answer = await this.#commands.run(
      SCRIPTS.appendDeliveries,
      [this.#keys.lease(incarnation), this.#keys.outbox(incarnation)],
      [
        ...[OUTBOX_MAX_ENTRIES, this.#announce, this.#keys.outboxHint(incarnation)],
        ...groups.flatMap(({ encoded, mac }) =>
          encoded.flatMap((delivery, index) => [delivery, index === encoded.length - 1 ? mac : '']),
        ),
      ],
    );
    if (answer === 1) return 'appended';
    return answer === 0 ? 'gone' : 'full';
  }

  /**
   * The epoch in a position combines the epoch of the outbox and the history of the data that it was read in:
   * in another history the latest entries may be missing, or have numbers below the position.
   */
  async read(incarnation: string, position: Position | null, limit: number): Promise<OutboxRead> {
    const history = this.#histories.of(this.#keys.outbox(incarnation)) ?? '';
    const [knownEpoch = '', knownHistory = ''] = position?.epoch.split(' ') ?? [];
    const sameHistory = knownHistory === '' || history === '' || knownHistory === history;
    const more = this.#authenticator.checksServers ? GROUP_MAX : 0;
    const [epoch, lost, found] = (await this.#commands.run(
      SCRIPTS.readOutbox,
      [this.#keys.epoch(incarnation), this.#keys.outbox(incarnation)],
      [sameHistory ? knownEpoch : OTHER_EPOCH, position?.offset ?? START, limit + more],
    )) as [Buffer, number, RawEntry[]];
    // A reader that already knows its outbox is gone (epoch '') does not get `lost` a second time.
    if (epoch.length === 0) {
      this.#entries.delete(incarnation);
      return { position: { epoch: '', offset: START }, entries: [], lost: position?.epoch !== '' };
    }
    const { entries, end } = await this.#open(incarnation, found, limit);
    const offset = end ?? (lost === 1 ? START : (position?.offset ?? START));
    const positionEpoch = `${epoch.toString()} ${history || knownHistory}`;
    return { position: { epoch: positionEpoch, offset }, entries, lost: lost === 1 };
  }

  /** `null`: no gateway whose key is known has that lease. */
  async #authenticated(
    incarnation: string,
    encoded: readonly Buffer[],
  ): Promise<{ encoded: readonly Buffer[]; mac: Buffer | '' }[] | null> {
    if (!this.#authenticator.checksGateways) return [{ encoded, mac: '' }];
    const key = await this.#records.keyOf(incarnation);
    if (key === null) return null;
    const groups: { encoded: readonly Buffer[]; mac: Buffer }[] = [];
    for (let start = 0; start < encoded.length; start += GROUP_MAX) {
      const group = encoded.slice(start, start + GROUP_MAX);
      const mac = await this.#authenticator.forGateway('deliveries', key, [
        Buffer.from(incarnation),
        ...group,
      ]);
      if (mac === null) return null;
      groups.push({ encoded: group, mac: groupMac(group.length, mac) });
    }
    return groups;
  }

  #open(
    incarnation: string,
    found: readonly RawEntry[],
    limit: number,
  ): Promise<{ entries: OutboxEntry[]; end: string | null }> {
    const before = this.#entries.get(incarnation);
    const entries = before ?? new AuthenticatedEntries(incarnation, this.#authenticator);
    if (before === undefined) this.#entries.set(incarnation, entries);
    return entries.open(found, limit);
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
