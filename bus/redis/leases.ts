import { nanoid } from 'nanoid';
import type { Lease, Leases, WorkerIdentity, WorkerLoad } from '../bus.ts';
import { decode, encode } from '../encoding.ts';
import type { Histories, HistoryWatch } from './histories.ts';
import type { Keys } from './keys.ts';
import type { OwnCommands } from './owner.ts';
import { SCRIPTS } from './scripts/index.ts';
import type { Subscriptions } from './subscriptions.ts';

/** How long the record of an orderly exit is kept, seconds. */
const LEFT_KNOWN_S = 3_600;

/** `installation`: that of the worker; '' while unknown, absent when the program has no installations. */
type StoredIdentity = WorkerIdentity & { installation?: string };

/** What this process appended. */
interface OwnReceipts {
  /** Called first when a lease of this process is gone: its latest appends may be gone as well. */
  mayBeLost(): void;
  /** Some of it may be missing right now. */
  readonly mayLack: boolean;
}

export class RedisLeases implements Leases {
  readonly #commands: OwnCommands;
  readonly #subscriptions: Subscriptions;
  readonly #keys: Keys;
  readonly #histories: Histories;
  /**
   * The data that depends on a lease of this process: the outbox and the presence of the worker's devices,
   * wherever those are kept. When a part of Redis continues with another history, some of it may be missing,
   * so the lease counts as lost.
   */
  readonly #watches = new Map<string, HistoryWatch>();

  readonly #receipts: OwnReceipts;

  constructor(
    commands: OwnCommands,
    subscriptions: Subscriptions,
    keys: Keys,
    histories: Histories,
    receipts: OwnReceipts,
  ) {
    this.#subscriptions = subscriptions;
    this.#receipts = receipts;
    this.#commands = commands;
    this.#keys = keys;
    this.#histories = histories;
  }

  async acquire(identity: WorkerIdentity, load: WorkerLoad, ttlMs: number): Promise<string> {
    const incarnation = nanoid();
    const own: StoredIdentity = { ...identity, installation: this.#commands.installation };
    // Started before the lease is created, so that a failover in between counts.
    const watch = this.#histories.watch([
      this.#keys.lease(incarnation),
      ...Array.from({ length: this.#keys.shards }, (_, shard) => this.#keys.presence(shard)),
    ]);
    const endsAt = await this.#commands.run(
      SCRIPTS.acquireLease,
      [this.#keys.lease(incarnation), this.#keys.epoch(incarnation)],
      [Math.ceil(ttlMs), encode(own), encode(load), nanoid()],
    );
    await this.#list(incarnation, Number(endsAt));
    this.#watches.set(incarnation, watch);
    return incarnation;
  }

  async extend(incarnation: string, load: WorkerLoad, ttlMs: number): Promise<'held' | 'lost'> {
    const endsAt = await this.#commands.run(
      SCRIPTS.extendLease,
      [this.#keys.lease(incarnation), this.#keys.epoch(incarnation), this.#keys.outbox(incarnation)],
      [Math.ceil(ttlMs), encode(load)],
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
    await this.#commands.run(SCRIPTS.heard, [this.#keys.lease(incarnation)], [upTo]);
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
      await this.#commands.do(this.#keys.left(incarnation), (client) =>
        client.set(this.#keys.left(incarnation), '', 'EX', LEFT_KNOWN_S),
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
  }

  async left(incarnations: readonly string[]): Promise<string[]> {
    const found = await Promise.all(
      incarnations.map((incarnation) =>
        this.#commands.do(this.#keys.left(incarnation), (client) =>
          client.exists(this.#keys.left(incarnation)),
        ),
      ),
    );
    return incarnations.filter((_, index) => found[index] === 1);
  }

  async list(): Promise<Lease[]> {
    const incarnations = await this.#commands.do(this.#keys.leases, (client) =>
      client.zrange(this.#keys.leases, '0', '-1'),
    );
    const found = await Promise.all(
      incarnations.map((incarnation) =>
        this.#commands.do(this.#keys.lease(incarnation), (client) =>
          client.hmgetBuffer(this.#keys.lease(incarnation), 'identity', 'load', 'since', 'heard'),
        ),
      ),
    );
    const leases: Lease[] = [];
    const expired: string[] = [];
    for (const [index, incarnation] of incarnations.entries()) {
      const [identity, load, since, heard] = found[index] ?? [];
      if (identity && load) {
        const { installation, ...worker } = decode<StoredIdentity>(identity);
        // A gateway of another installation that has not noticed yet that this Redis is not its own.
        if ((installation ?? '') !== '' && installation !== this.#commands.installation) continue;
        leases.push({
          incarnation,
          identity: worker,
          load: decode<WorkerLoad>(load),
          since: Number(since ?? 0),
          heardUpTo: Number(heard ?? 0),
        });
      } else {
        expired.push(incarnation);
      }
    }
    // A lease is listed only after it was created, and an incarnation never returns: a missing one has
    // expired.
    if (expired.length > 0) {
      await this.#commands.do(this.#keys.leases, (client) => client.zrem(this.#keys.leases, ...expired));
    }
    return leases;
  }

  #list(incarnation: string, endsAt: number): Promise<unknown> {
    return this.#commands.do(this.#keys.leases, (client) =>
      client.zadd(this.#keys.leases, endsAt, incarnation),
    );
  }
}
