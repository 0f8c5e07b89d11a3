/**
 * Sockets of a gateway worker or of the HTTP API that are not trusted yet: accepted and silent, making an
 * HTTP request, a WebSocket without a proof, a tunnel leg without a ticket. They share one bound and one time
 * limit, counted from accept, so that strangers cannot use up what devices need. Each address and each prefix
 * has a share of the bound. When one exceeds its share, its oldest socket is closed; when all together exceed
 * the bound, the oldest socket of the largest prefix is closed.
 */
import type { AddressList, Origin } from './addresses.ts';

/**
 * `accepted`: TCP, perhaps an HTTP request. `handshake`: a WebSocket that must prove its identity.
 * `admitting`: the worker is checking its proof. `leg`: a tunnel leg whose ticket is not verified yet.
 */
export type NewcomerKind = 'accepted' | 'handshake' | 'admitting' | 'leg';
/**
 * `late`: past the time limit. The others: over the share of its address, over the share of its prefix, or
 * over the bound.
 */
export type CutReason = 'late' | 'address' | 'prefix' | 'crowded';

/** The current owner of a socket. */
export interface Holder {
  /** Closes the socket at once; `Newcomers.leave` has already been called. */
  cut(why: CutReason): void;
}

/**
 * Closable sockets of one address or prefix, the oldest first. Sockets being admitted are counted but not
 * listed.
 */
class Group {
  readonly closable = new Set<Newcomer>();
  count = 0;
}

class Prefix extends Group {
  readonly addresses = new Map<string, Group>();
  readonly key: string;
  /** Proxies and the like: many devices connect through them, so no share applies. */
  readonly shared: boolean;
  constructor(key: string, shared: boolean) {
    super();
    this.key = key;
    this.shared = shared;
  }
}

export interface Newcomer {
  kind: NewcomerKind;
  holder: Holder;
  /** Tick of the worker's clock in which it was accepted. */
  readonly since: number;
  readonly address: string;
  readonly prefix: Prefix;
  /** Trusted or closed. */
  left: boolean;
}

export interface NewcomersParts {
  /** Most sockets at once; evaluated each time, since descriptors may become scarce. */
  bound(): number;
  /** Shares of the bound; an address never has more than a quarter, a prefix than half of it. */
  perAddress: number;
  shared: AddressList;
  now(): number;
  /** Ticks from accept to trust. */
  limitTicks: number;
  cuts: { add(reason: CutReason): void };
}

/**
 * After a close frame, uWebSockets.js keeps the socket until the other side closes too, for at most this
 * long.
 */
const LINGER_TICKS_SHARE = 1.6;

export class Newcomers {
  readonly #parts: NewcomersParts;
  readonly #prefixes = new Map<string, Prefix>();
  /** All closable ones, the oldest first. */
  readonly #closable = new Set<Newcomer>();
  /** Prefixes by how many closable sockets they have, and the largest such number. */
  readonly #bySize: Set<Prefix>[] = [];
  #largest = 0;
  readonly #counts: Record<NewcomerKind, number> = { accepted: 0, handshake: 0, admitting: 0, leg: 0 };
  #total = 0;
  /** Ticks until which sockets that were closed with a close frame may linger. */
  readonly #lingering: number[] = [];

  constructor(parts: NewcomersParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#total;
  }

  get counts(): Readonly<Record<NewcomerKind, number>> {
    return this.#counts;
  }

  /** The bound is reached, and no socket can be closed in favour of another. */
  get crowded(): boolean {
    return this.#total > this.#parts.bound() && this.#closable.size <= 1;
  }

  /** Registers an accepted socket; others may be closed in its favour. */
  add(holder: Holder, origin: Origin, kind: NewcomerKind = 'accepted'): Newcomer {
    const prefix = this.#prefixOf(origin);
    const newcomer: Newcomer = {
      kind,
      holder,
      since: this.#parts.now(),
      address: origin.address,
      prefix,
      left: false,
    };
    const address = prefix.addresses.get(origin.address) ?? new Group();
    prefix.addresses.set(origin.address, address);
    this.#total++;
    this.#counts[kind]++;
    prefix.count++;
    address.count++;
    this.#makeClosable(newcomer, address);
    this.#holdShares(newcomer, address);
    this.enforce(newcomer);
    return newcomer;
  }

  /** Its kind and its owner changed. */
  become(newcomer: Newcomer, kind: NewcomerKind, holder: Holder): void {
    if (newcomer.left) return;
    this.#counts[newcomer.kind]--;
    this.#counts[kind]++;
    newcomer.kind = kind;
    newcomer.holder = holder;
    const address = newcomer.prefix.addresses.get(newcomer.address);
    // This includes a socket that could not be closed before: its owner is known now.
    if (kind !== 'admitting' && address && !this.#closable.has(newcomer))
      this.#makeClosable(newcomer, address);
  }

  /** Its proof arrived: it waits for the worker, so it is not closed in favour of others. */
  admitting(newcomer: Newcomer): void {
    if (newcomer.left) return;
    this.become(newcomer, 'admitting', newcomer.holder);
    this.#makeUnclosable(newcomer);
  }

  /** It cannot be closed here for now: it still counts, and its owner enforces the time limit. */
  unclosable(newcomer: Newcomer): void {
    this.#makeUnclosable(newcomer);
  }

  /** It can be closed again, by `holder`. */
  closable(newcomer: Newcomer, holder: Holder): void {
    if (newcomer.left) return;
    newcomer.holder = holder;
    const address = newcomer.prefix.addresses.get(newcomer.address);
    if (address) this.#makeClosable(newcomer, address);
  }

  /** Closes it when it is past its time. */
  checkTime(newcomer: Newcomer): void {
    const { now, limitTicks } = this.#parts;
    if (!newcomer.left && newcomer.since < now() - limitTicks) this.#cut(newcomer, 'late');
  }

  /** Whether its address, or all together, have so many sockets that each should be closable. */
  pressed({ prefix, address }: Newcomer): boolean {
    const bound = this.#parts.bound();
    if (this.#total >= bound / 2) return true;
    const count = prefix.addresses.get(address)?.count ?? 0;
    return !prefix.shared && count >= this.#shareOfAddress(bound) / 2;
  }

  /** Removes a socket that is trusted or closed. Idempotent. */
  leave(newcomer: Newcomer): void {
    if (newcomer.left) return;
    newcomer.left = true;
    this.#makeUnclosable(newcomer);
    this.#total--;
    this.#counts[newcomer.kind]--;
    const { prefix } = newcomer;
    const address = prefix.addresses.get(newcomer.address);
    if (address && --address.count === 0) prefix.addresses.delete(newcomer.address);
    if (--prefix.count === 0) this.#prefixes.delete(prefix.key);
  }

  /** Whether one more stranger's socket may be closed with a close frame; counts it as lingering. */
  mayLinger(): boolean {
    const { now, limitTicks, bound } = this.#parts;
    const tick = now();
    while (this.#lingering.length > 0 && (this.#lingering[0] ?? 0) <= tick) this.#lingering.shift();
    if (this.#lingering.length >= bound() / 2) return false;
    this.#lingering.push(tick + Math.ceil(limitTicks * LINGER_TICKS_SHARE));
    return true;
  }

  /** Closes what is past its time. */
  sweep(): void {
    const last = this.#parts.now() - this.#parts.limitTicks;
    for (const newcomer of this.#closable) {
      // All are checked: a socket that was not closable for a while stands behind younger ones.
      if (newcomer.since < last) this.#cut(newcomer, 'late');
    }
  }

  /** Closes sockets over the bound, which may have dropped; never `spared`. */
  enforce(spared?: Newcomer): void {
    const bound = this.#parts.bound();
    while (this.#total > bound) {
      const oldest = this.#oldestOfLargest(spared);
      if (!oldest) return;
      this.#cut(oldest, 'crowded');
    }
  }

  #holdShares(newcomer: Newcomer, address: Group): void {
    const { prefix } = newcomer;
    if (prefix.shared) return;
    const bound = this.#parts.bound();
    if (address.count > this.#shareOfAddress(bound)) this.#cutOldest(address, newcomer, 'address');
    const ofPrefix = Math.max(1, Math.min(2 * this.#parts.perAddress, Math.floor(bound / 2)));
    if (prefix.count > ofPrefix) this.#cutOldest(prefix, newcomer, 'prefix');
  }

  #shareOfAddress(bound: number): number {
    return Math.max(1, Math.min(this.#parts.perAddress, Math.floor(bound / 4)));
  }

  #cutOldest(group: Group, spared: Newcomer, why: CutReason): void {
    const oldest = oldestOf(group, spared);
    if (oldest) this.#cut(oldest, why);
  }

  #oldestOfLargest(spared: Newcomer | undefined): Newcomer | undefined {
    for (let size = this.#largest; size > 0; size--) {
      for (const prefix of this.#bySize[size] ?? []) {
        const oldest = oldestOf(prefix, spared);
        if (oldest) return oldest;
      }
    }
    return undefined;
  }

  #cut(newcomer: Newcomer, why: CutReason): void {
    this.#parts.cuts.add(why);
    this.leave(newcomer);
    newcomer.holder.cut(why);
  }

  #prefixOf(origin: Origin): Prefix {
    const shared = this.#parts.shared.has(origin.address);
    const key = shared ? `shared ${origin.address}` : origin.prefix;
    const prefix = this.#prefixes.get(key) ?? new Prefix(key, shared);
    this.#prefixes.set(key, prefix);
    return prefix;
  }

  #makeClosable(newcomer: Newcomer, address: Group): void {
    const { prefix } = newcomer;
    this.#closable.add(newcomer);
    address.closable.add(newcomer);
    this.#move(prefix, prefix.closable.size, prefix.closable.add(newcomer).size);
  }

  #makeUnclosable(newcomer: Newcomer): void {
    const { prefix } = newcomer;
    if (!this.#closable.delete(newcomer)) return;
    prefix.addresses.get(newcomer.address)?.closable.delete(newcomer);
    const before = prefix.closable.size;
    prefix.closable.delete(newcomer);
    this.#move(prefix, before, prefix.closable.size);
  }

  #move(prefix: Prefix, before: number, after: number): void {
    this.#bySize[before]?.delete(prefix);
    if (after > 0) {
      let set = this.#bySize[after];
      if (!set) this.#bySize[after] = set = new Set();
      set.add(prefix);
    }
    if (after > this.#largest) this.#largest = after;
    while (this.#largest > 0 && (this.#bySize[this.#largest]?.size ?? 0) === 0) this.#largest--;
  }
}

function oldestOf(group: Group, spared: Newcomer | undefined): Newcomer | undefined {
  for (const newcomer of group.closable) if (newcomer !== spared) return newcomer;
  return undefined;
}
