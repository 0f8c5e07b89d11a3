/**
 * Every socket of a gateway's worker, or of the HTTP API, that is not trusted yet, of whatever kind: accepted
 * and silent, asking over HTTP, a WebSocket without a proof, a leg of a tunnel without a ticket. They share
 * one bound and one time limit, counted from accept, so that strangers cannot use up what devices need. An
 * address and its prefix have a share of the bound. Who is over it loses the oldest socket; when all together
 * are over the bound, the largest prefix loses its oldest.
 */
import type { AddressList, Origin } from './addresses.ts';

/**
 * `accepted`: TCP, perhaps an HTTP request. `handshake`: a WebSocket that has to prove itself. `admitting`:
 * its proof is being checked, which it waits for and not we. `leg`: of a tunnel, before its ticket was good.
 */
export type NewcomerKind = 'accepted' | 'handshake' | 'admitting' | 'leg';
/**
 * `late`: past the time limit. The others: over the share of its address, of its prefix, or over the bound.
 */
export type CutReason = 'late' | 'address' | 'prefix' | 'crowded';

/** Whoever has the socket. */
export interface Holder {
  /** Closes the socket at once; `Newcomers.leave` was called before. */
  cut(why: CutReason): void;
}

/**
 * Sockets of one address or prefix, the oldest first; those being admitted are counted and not among them.
 */
class Group {
  readonly closable = new Set<Newcomer>();
  count = 0;
}

class Prefix extends Group {
  readonly addresses = new Map<string, Group>();
  readonly key: string;
  /** Proxies and the like: many devices come from there, and have no share. */
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
  /** Trusted, or gone. */
  left: boolean;
}

export interface NewcomersParts {
  /** Most at once; asked each time, since descriptors may get scarce. */
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
 * Sockets that ended with a close frame stay until the other side closes too, at most so long
 * (uWebSockets.js).
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

  /** There are as many as there may be, and none can be closed for another. */
  get crowded(): boolean {
    return this.#total > this.#parts.bound() && this.#closable.size <= 1;
  }

  /** A socket was accepted; others may be closed for it. */
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

  /** It is something else now, and somebody else has it. */
  become(newcomer: Newcomer, kind: NewcomerKind, holder: Holder): void {
    if (newcomer.left) return;
    this.#counts[newcomer.kind]--;
    this.#counts[kind]++;
    newcomer.kind = kind;
    newcomer.holder = holder;
    const address = newcomer.prefix.addresses.get(newcomer.address);
    // Also one that could not be closed before: its holder is known now.
    if (kind !== 'admitting' && address && !this.#closable.has(newcomer))
      this.#makeClosable(newcomer, address);
  }

  /** Its proof came: it waits for us, and is not closed for others. */
  admitting(newcomer: Newcomer): void {
    if (newcomer.left) return;
    this.become(newcomer, 'admitting', newcomer.holder);
    this.#makeUnclosable(newcomer);
  }

  /** It cannot be closed by us, for the time being: it counts, and its time limit is kept elsewhere. */
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

  /** So many of its address, or of all, are here that each should be closable. */
  pressed({ prefix, address }: Newcomer): boolean {
    const bound = this.#parts.bound();
    if (this.#total >= bound / 2) return true;
    const count = prefix.addresses.get(address)?.count ?? 0;
    return !prefix.shared && count >= this.#shareOfAddress(bound) / 2;
  }

  /** It is trusted, or gone. Idempotent. */
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

  /**
   * Whether one more socket of a stranger may be closed with a close frame; it is counted as one that
   * lingers.
   */
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
      // All are looked at: one that could not be closed for a while comes after younger ones.
      if (newcomer.since < last) this.#cut(newcomer, 'late');
    }
  }

  /** Closes what is over the bound, which may have become lower; never `spared`. */
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
