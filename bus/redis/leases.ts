import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import type { Lease, Leases, WorkerIdentity, WorkerLoad } from '../bus.ts';
import { incarnationOf } from '../credentials.ts';
import { encode } from '../encoding.ts';
import type { Histories, HistoryWatch } from './histories.ts';
import type { Keys } from './keys.ts';
import { LeaseRecords, type StoredIdentity } from './lease-records.ts';
import type { Authenticator } from './macs/authenticator.ts';
import type { OwnCommands } from './owner.ts';
import { SCRIPTS } from './scripts/index.ts';
import type { Subscriptions } from './subscriptions.ts';

/** How long the record of an orderly exit is kept, seconds. */
const LEFT_KNOWN_S = 3_600;

/** What this process appended. */
interface OwnReceipts {
  /** Called first when a lease of this process is gone: its latest appends may be gone as well. */
  mayBeLost(): void;
  /** Some of that data may be missing now. */
  readonly mayLack: boolean;
}

export interface RedisLeasesParts {
  commands: OwnCommands;
  subscriptions: Subscriptions;
  keys: Keys;
  histories: Histories;
  receipts: OwnReceipts;
  authenticator: Authenticator;
  /** By the clock that all share. */
  now: () => number;
  log: Logger;
}

export class RedisLeases implements Leases {
  readonly records: LeaseRecords;
  readonly #log: Logger;
  readonly #authenticator: Authenticator;
  readonly #now: () => number;
  readonly #commands: OwnCommands;
  readonly #subscriptions: Subscriptions;
  readonly #keys: Keys;
  readonly #histories: Histories;
  /**
   * The data that depends on a lease of this process: the outbox and the presence of the worker's devices,
   * wherever they are stored. When a part of Redis continues with another history, some of it may be missing,
   * so the lease counts as lost.
   */
  readonly #watches = new Map<string, HistoryWatch>();

  readonly #receipts: OwnReceipts;

  /** Identities of the leases of this process, as they were written. */
  readonly #identities = new Map<string, Buffer>();

  constructor(parts: RedisLeasesParts) {
    this.records = new LeaseRecords(parts);
    this.#log = parts.log;
    this.#authenticator = parts.authenticator;
    this.#now = parts.now;
    this.#subscriptions = parts.subscriptions;
    this.#receipts = parts.receipts;
    this.#commands = parts.commands;
    this.#keys = parts.keys;
    this.#histories = parts.histories;
  }

  async acquire(identity: WorkerIdentity, load: WorkerLoad, ttlMs: number): Promise<string> {
    const incarnation = incarnationOf(identity.gateway, nanoid());
    const own: StoredIdentity = { ...identity, installation: this.#commands.installation };
    const encoded = encode(own);
    // Started before the lease is created, so that a failover in between counts.
    const watch = this.#histories.watch([
      this.#keys.lease(incarnation),
      ...Array.from({ length: this.#keys.shards }, (_, shard) => this.#keys.presence(shard)),
    ]);
    const said = encode(load);
    const endsAt = await this.#commands.run(
      SCRIPTS.acquireLease,
      [this.#keys.lease(incarnation), this.#keys.epoch(incarnation)],
      [Math.ceil(ttlMs), encoded, said, nanoid(), this.#mac(incarnation, encoded, said, ttlMs)],
    );
    await this.#list(incarnation, Number(endsAt));
    this.#watches.set(incarnation, watch);
    this.#identities.set(incarnation, encoded);
    return incarnation;
  }

  async extend(incarnation: string, load: WorkerLoad, ttlMs: number): Promise<'held' | 'lost'> {
    const said = encode(load);
    const identity = this.#identities.get(incarnation) ?? Buffer.alloc(0);
    const endsAt = await this.#commands.run(
      SCRIPTS.extendLease,
      [this.#keys.lease(incarnation), this.#keys.epoch(incarnation), this.#keys.outbox(incarnation)],
      [Math.ceil(ttlMs), said, this.#mac(incarnation, identity, said, ttlMs)],
    );
    if (Number(endsAt) === 0) {
      if (this.#watches.delete(incarnation)) this.#receipts.mayBeLost();
      return 'lost';
    }
    if (this.#watches.get(incarnation)?.changed()) {
      await this.release(incarnation);
      return 'lost';
    }
    await this.#list(incarnation, Number(endsAt));
    return 'held';
  }

  async heard(incarnation: string, upTo: number): Promise<void> {
    // Another history may lack appended entries: the next extension finds the lease lost.
    if (this.#watches.get(incarnation)?.changed() || this.#receipts.mayLack) return;
    const mac =
      this.#authenticator.byGateway('heard', { sender: incarnation, number: Math.floor(upTo) }) ?? '';
    await this.#commands.run(SCRIPTS.heard, [this.#keys.lease(incarnation)], [Math.floor(upTo), mac]);
  }

  async askHeard(incarnations: readonly string[]): Promise<void> {
    await Promise.all(
      incarnations.map((incarnation) =>
        this.#subscriptions.publish(this.#commands, this.#keys.askHeard(incarnation)),
      ),
    );
  }

  onAskHeard(incarnation: string, onAsked: () => void): Promise<() => Promise<void>> {
    return this.#subscriptions.on(this.#keys.askHeard(incarnation), onAsked);
  }

  async release(incarnation: string, { allHeard = false } = {}): Promise<void> {
    if (allHeard) {
      const mac = this.#authenticator.byGateway('left', { sender: incarnation, number: 0 }) ?? '';
      await this.#commands.do(this.#keys.left(incarnation), (client) =>
        client.set(this.#keys.left(incarnation), mac, 'EX', LEFT_KNOWN_S),
      );
    }
    await Promise.all([
      this.#commands.do(this.#keys.lease(incarnation), (client) =>
        client.del(
          this.#keys.lease(incarnation),
          this.#keys.epoch(incarnation),
          this.#keys.outbox(incarnation),
        ),
      ),
      this.#commands.do(this.#keys.leases, (client) => client.zrem(this.#keys.leases, incarnation)),
    ]);
    this.#watches.delete(incarnation);
    this.#identities.delete(incarnation);
  }

  async left(incarnations: readonly string[]): Promise<string[]> {
    const found = await Promise.all(incarnations.map((incarnation) => this.records.left(incarnation)));
    return incarnations.filter((_, index) => found[index]);
  }

  async list(): Promise<Lease[]> {
    const incarnations = await this.#commands.do(this.#keys.leases, (client) =>
      client.zrange(this.#keys.leases, '0', '-1'),
    );
    const found = await Promise.all(incarnations.map((incarnation) => this.records.read(incarnation)));
    const leases = found.filter((lease) => typeof lease === 'object');
    const expired = incarnations.filter((_, index) => found[index] === 'none');
    // Of gateways whose certificates were revoked or are over: their workers lose lease and outbox.
    const ended = incarnations.filter((_, index) => found[index] === 'ended');
    await Promise.all(ended.map((incarnation) => this.#end(incarnation)));
    // A lease is listed only after it was created, and an incarnation never returns: a missing one has
    // expired.
    if (expired.length > 0) {
      await this.#commands.do(this.#keys.leases, (client) => client.zrem(this.#keys.leases, ...expired));
    }
    return leases;
  }

  async #end(incarnation: string): Promise<void> {
    this.#log.warn({ incarnation }, 'ended the lease of a gateway whose certificate was revoked or is over');
    await this.release(incarnation);
  }

  /** '' for a program without credentials. */
  #mac(incarnation: string, identity: Buffer, load: Buffer, ttlMs: number): Buffer | '' {
    const number = this.#now() + Math.ceil(ttlMs);
    return this.#authenticator.byGateway('lease', { sender: incarnation, number }, [identity, load]) ?? '';
  }

  #list(incarnation: string, endsAt: number): Promise<unknown> {
    return this.#commands.do(this.#keys.leases, (client) =>
      client.zadd(this.#keys.leases, endsAt, incarnation),
    );
  }
}
