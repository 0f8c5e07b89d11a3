/**
 * Sockets of a gateway worker or of the HTTP API that are not authenticated yet: accepted and silent, making
 * an HTTP request, a WebSocket without a proof, a tunnel leg without a ticket. They share one bound and one
 * time limit, counted from accept, so that other programs cannot use up what devices need. Each address and
 * each prefix has a share of the bound. When one exceeds its share, its oldest socket is closed; when all
 * together exceed the bound, the oldest socket of the largest prefix is closed.
 */
import type { AddressList, Origin } from './addresses.ts';

/**
 * `accepted`: TCP, perhaps an HTTP request. `handshake`: a WebSocket that must prove its identity.
 * `admitting`: the worker is checking its proof. `leg`: a tunnel leg whose ticket is not verified yet.
 */
export type UnauthenticatedKind = 'accepted' | 'handshake' | 'admitting' | 'leg';
/**
 * `late`: past the time limit. The others: over the share of its address, over the share of its prefix, or
 * over the bound.
 */
export type CutReason = 'late' | 'address' | 'prefix' | 'crowded';

/** The current owner of a socket. */
export interface Holder {
  /** Closes the socket at once; `UnauthenticatedSockets.leave` has already been called. */
  cut(why: CutReason): void;
}

/**
 * Closable sockets of one address or prefix, the oldest first. Sockets being admitted are counted but not
 * listed.
 */
class Group {
  readonly closable = new Set<UnauthenticatedSocket>();
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

export interface UnauthenticatedSocket {
  kind: UnauthenticatedKind;
  holder: Holder;
  /** Tick of the worker's clock in which it was accepted. */
  readonly since: number;
  readonly address: string;
  readonly prefix: Prefix;
  /** Trusted or closed. */
  left: boolean;
}

export interface UnauthenticatedSocketsParts {
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

export class UnauthenticatedSockets {
  readonly #parts: UnauthenticatedSocketsParts;
  readonly #prefixes = new Map<string, Prefix>();
  /** All closable ones, the oldest first. */
  readonly #closable = new Set<UnauthenticatedSocket>();
  /** Prefixes by how many closable sockets they have, and the largest such number. */
  readonly #bySize: Set<Prefix>[] = [];
  #largest = 0;
  readonly #counts: Record<UnauthenticatedKind, number> = { accepted: 0, handshake: 0, admitting: 0, leg: 0 };
  #total = 0;
  /** Ticks until which sockets that were closed with a close frame may linger. */
  readonly #lingering: number[] = [];

  constructor(parts: UnauthenticatedSocketsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#total;
  }

  get counts(): Readonly<Record<UnauthenticatedKind, number>> {
    return this.#counts;
  }

  /** The bound is reached, and no socket can be closed in favour of another. */
  get crowded(): boolean {
    return this.#total > this.#parts.bound() && this.#closable.size <= 1;
  }

  /** Registers an accepted socket; others may be closed in its favour. */
  add(holder: Holder, origin: Origin, kind: UnauthenticatedKind = 'accepted'): UnauthenticatedSocket {
    const prefix = this.#prefixOf(origin);
    const socket: UnauthenticatedSocket = {
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
    this.#makeClosable(socket, address);
    this.#holdShares(socket, address);
    this.enforce(socket);
    return socket;
  }

  /** Its kind and its owner changed. */
  become(socket: UnauthenticatedSocket, kind: UnauthenticatedKind, holder: Holder): void {
    if (socket.left) return;
    this.#counts[socket.kind]--;
    this.#counts[kind]++;
    socket.kind = kind;
    socket.holder = holder;
    const address = socket.prefix.addresses.get(socket.address);
    // This includes a socket that could not be closed before: its owner is known now.
    if (kind !== 'admitting' && address && !this.#closable.has(socket)) this.#makeClosable(socket, address);
  }

  /** Its proof arrived: it waits for the worker, so it is not closed in favour of others. */
  admitting(socket: UnauthenticatedSocket): void {
    if (socket.left) return;
    this.become(socket, 'admitting', socket.holder);
    this.#makeUnclosable(socket);
  }

  /** It cannot be closed here for now: it still counts, and its owner enforces the time limit. */
  unclosable(socket: UnauthenticatedSocket): void {
    this.#makeUnclosable(socket);
  }

  /** It can be closed again, by `holder`. */
  closable(socket: UnauthenticatedSocket, holder: Holder): void {
    if (socket.left) return;
    socket.holder = holder;
    const address = socket.prefix.addresses.get(socket.address);
    if (address) this.#makeClosable(socket, address);
  }

  /** Closes it when it is past its time. */
  checkTime(socket: UnauthenticatedSocket): void {
    const { now, limitTicks } = this.#parts;
    if (!socket.left && socket.since < now() - limitTicks) this.#cut(socket, 'late');
  }

  /** Whether its address, or all together, have so many sockets that each should be closable. */
  pressed({ prefix, address }: UnauthenticatedSocket): boolean {
    const bound = this.#parts.bound();
    if (this.#total >= bound / 2) return true;
    const count = prefix.addresses.get(address)?.count ?? 0;
    return !prefix.shared && count >= this.#shareOfAddress(bound) / 2;
  }

  /** Removes a socket that is trusted or closed. Idempotent. */
  leave(socket: UnauthenticatedSocket): void {
    if (socket.left) return;
    socket.left = true;
    this.#makeUnclosable(socket);
    this.#total--;
    this.#counts[socket.kind]--;
    const { prefix } = socket;
    const address = prefix.addresses.get(socket.address);
    if (address && --address.count === 0) prefix.addresses.delete(socket.address);
    if (--prefix.count === 0) this.#prefixes.delete(prefix.key);
  }

  /** Whether one more unauthenticated socket may be closed with a close frame; counts it as lingering. */
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
    for (const socket of this.#closable) {
      // All are checked: a socket that was not closable for a while is listed behind younger ones.
      if (socket.since < last) this.#cut(socket, 'late');
    }
  }

  /** Closes sockets over the bound, which may have dropped; never `spared`. */
  enforce(spared?: UnauthenticatedSocket): void {
    const bound = this.#parts.bound();
    while (this.#total > bound) {
      const oldest = this.#oldestOfLargest(spared);
      if (!oldest) return;
      this.#cut(oldest, 'crowded');
    }
  }

  #holdShares(socket: UnauthenticatedSocket, address: Group): void {
    const { prefix } = socket;
    if (prefix.shared) return;
    const bound = this.#parts.bound();
    if (address.count > this.#shareOfAddress(bound)) this.#cutOldest(address, socket, 'address');
    const ofPrefix = Math.max(1, Math.min(2 * this.#parts.perAddress, Math.floor(bound / 2)));
    if (prefix.count > ofPrefix) this.#cutOldest(prefix, socket, 'prefix');
  }

  #shareOfAddress(bound: number): number {
    return Math.max(1, Math.min(this.#parts.perAddress, Math.floor(bound / 4)));
  }

  #cutOldest(group: Group, spared: UnauthenticatedSocket, why: CutReason): void {
    const oldest = oldestOf(group, spared);
    if (oldest) this.#cut(oldest, why);
  }

  #oldestOfLargest(spared: UnauthenticatedSocket | undefined): UnauthenticatedSocket | undefined {
    for (let size = this.#largest; size > 0; size--) {
      for (const prefix of this.#bySize[size] ?? []) {
        const oldest = oldestOf(prefix, spared);
        if (oldest) return oldest;
      }
    }
    return undefined;
  }

  #cut(socket: UnauthenticatedSocket, why: CutReason): void {
    this.#parts.cuts.add(why);
    this.leave(socket);
    socket.holder.cut(why);
  }

  #prefixOf(origin: Origin): Prefix {
    const shared = this.#parts.shared.has(origin.address);
    const key = shared ? `shared ${origin.address}` : origin.prefix;
    const prefix = this.#prefixes.get(key) ?? new Prefix(key, shared);
    this.#prefixes.set(key, prefix);
    return prefix;
  }

  #makeClosable(socket: UnauthenticatedSocket, address: Group): void {
    const { prefix } = socket;
    this.#closable.add(socket);
    address.closable.add(socket);
    this.#move(prefix, prefix.closable.size, prefix.closable.add(socket).size);
  }

  #makeUnclosable(socket: UnauthenticatedSocket): void {
    const { prefix } = socket;
    if (!this.#closable.delete(socket)) return;
    prefix.addresses.get(socket.address)?.closable.delete(socket);
    const before = prefix.closable.size;
    prefix.closable.delete(socket);
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

function oldestOf(
  group: Group,
  spared: UnauthenticatedSocket | undefined,
): UnauthenticatedSocket | undefined {
  for (const socket of group.closable) if (socket !== spared) return socket;
  return undefined;
}
