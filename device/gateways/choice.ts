import { DEVICE_CLOSE, type GatewayAddress, reconnectAdvice } from '../../protocol/index.ts';
import type { ConnectionEnd } from '../connection-end.ts';
import { dialable } from '../platform/dialable.ts';
import type { Distances } from './probe.ts';

/** Close codes that say this gateway is not the one to return to (G-2). */
const LEAVE = new Set<number>([
  DEVICE_CLOSE.draining,
  DEVICE_CLOSE.redirected,
  DEVICE_CLOSE.outOfScope,
  DEVICE_CLOSE.overloaded,
  DEVICE_CLOSE.notReady,
]);

/**
 * Puts gateways into the order in which they are tried (G-11), by milliseconds for each name, `null` for one
 * that did not answer. One to be avoided comes last.
 */
export type NearestFirst = (
  gateways: readonly GatewayAddress[],
  distances: Distances,
  avoided: string | undefined,
) => readonly GatewayAddress[];

/** Addresses kept behind the list. */
const MAX_OLDER = 32;

function usable(list: readonly GatewayAddress[], from: string | undefined): GatewayAddress[] {
  const pattern = from && /^wss:/i.test(from) ? /^wss:\/\//i : /^wss?:\/\//i;
  return list.filter(({ url }) => pattern.test(url) && dialable(url));
}

/**
 * Which gateway to try next: those a redirect named first, then the gateway of the last session, then the
 * others, the nearest first by what was measured (G-11); once all were tried, again from the beginning.
 */
export class GatewayChoice {
  readonly #order: NearestFirst;
  #list: GatewayAddress[] = [];
  /**
   * Addresses of earlier lists, the newest first: tried after the list until a gateway of it has admitted the
   * device (G-1).
   */
  #older: GatewayAddress[] = [];
  /** The list in the order it is tried, `home` aside, and the older addresses after it. */
  #inOrder: readonly GatewayAddress[] = [];
  #redirects: GatewayAddress[] = [];
  /** Urls tried, or to be left, since the last session or the last time all were. */
  readonly #tried = new Set<string>();
  #home: string | undefined;
  /** The next round begins with `home`. */
  #homeFirst = true;
  /** Milliseconds by name, for an address may change; `null` for one that did not answer. */
  readonly #distances = new Map<string, number | null>();
  #avoided: string | undefined;

  /**
   * `home`: url of the gateway of the last session, also of an earlier program's; `order`: as given when
   * absent.
   */
  constructor(
    list: readonly GatewayAddress[],
    home?: string,
    order: NearestFirst = (gateways) => gateways,
    older: readonly GatewayAddress[] = [],
  ) {
    this.#order = order;
    this.#home = home;
    this.#older = usable(older, undefined);
    this.replace(list);
    this.#sort();
  }

  get list(): readonly GatewayAddress[] {
    return this.#list;
  }

  get older(): readonly GatewayAddress[] {
    return this.#older;
  }

  /** Addresses there are to try. */
  get size(): number {
    return this.#inOrder.length;
  }

  get home(): string | undefined {
    return this.#home;
  }

  /** Whether there is a gateway to return to. */
  get settled(): boolean {
    return this.#list.some(({ url }) => url === this.#home);
  }

  /** The gateways of the list with these names (G-3). */
  known(names: readonly string[]): GatewayAddress[] {
    return names.flatMap((name) => this.#list.find((gateway) => gateway.name === name) ?? []);
  }

  /**
   * There is another list; an empty one is not believed, as it would strand the device. `from`: url of the
   * gateway that brought it; by TLS, nothing without it is believed.
   */
  replace(list: readonly GatewayAddress[], from?: string): boolean {
    const next = usable(list, from);
    if (next.length === 0 || JSON.stringify(next) === JSON.stringify(this.#list)) return false;
    const listed = new Set(next.map(({ url }) => url));
    const before = usable([...this.#list, ...this.#older], from);
    this.#older = before.filter(({ url }) => !listed.has(url)).slice(0, MAX_OLDER);
    this.#list = next;
    this.#sort();
    for (const tried of this.#tried) if (!this.#knows(tried)) this.#tried.delete(tried);
    if (this.#inOrder.every(({ url }) => this.#tried.has(url))) this.#tried.clear();
    return true;
  }

  /** All that is known of how far the gateways are; it does not change where the device returns to. */
  measured(distances: Distances): void {
    this.#avoided = undefined;
    this.#note(distances);
  }

  /**
   * G-11: begins with the best. One to be avoided, which the device has cause to leave, comes last however
   * near.
   */
  arrange(distances: Distances, avoided?: string): void {
    this.#avoided = avoided;
    this.#note(distances);
    this.#homeFirst = false;
    this.#tried.clear();
  }

  /**
   * Go to these first (G-3), the nearest of them first, and if none of them admits the device, to another
   * than `from`. `first`: the first of them is meant, whatever was measured.
   */
  redirect(to: readonly GatewayAddress[], from: string, first = false): void {
    const [meant, ...others] = usable(to, from);
    if (!meant) this.#redirects = [];
    else if (first) this.#redirects = [meant, ...this.#nearestFirst(others)];
    else this.#redirects = [...this.#nearestFirst([meant, ...others])];
    this.leave(from);
  }

  /** The next is another than this one. */
  leave(url: string): void {
    if (this.#knows(url)) this.#tried.add(url);
    if (this.#inOrder.every((known) => this.#tried.has(known.url))) this.#again(url);
  }

  get redirected(): boolean {
    return this.#redirects.length > 0;
  }

  current(): GatewayAddress | undefined {
    return this.#redirects[0] ?? this.#candidates.find(({ url }) => !this.#tried.has(url));
  }

  /**
   * A connection ended. Returns whether the device was sent elsewhere, and how the end counts for the pause
   * that follows: one that leads elsewhere is "now", whatever the device closed with itself (G-3).
   */
  ended(
    { url }: GatewayAddress,
    end: Pick<ConnectionEnd, 'code' | 'after' | 'gateways'>,
  ): { sent: boolean; code: number } {
    // One that was itself named by a refusal is not asked for names: two full ones would send the device to
    // and fro (G-15).
    // Who is refused with others is told the same names as they: by their own lists they go different ways.
    const named = this.redirected
      ? []
      : this.#nearestFirst(this.#list).filter(({ name }) => end.gateways?.includes(name));
    if (named.length > 0) this.redirect(named, url, true);
    const sent = this.redirected && this.current()?.url !== url;
    if (!sent) {
      if (end.after !== 'session') this.rotate();
      else if (LEAVE.has(end.code) || reconnectAdvice(end.code) === 'slow') this.leave(url);
    }
    return {
      sent,
      code: sent && (named.length > 0 || end.code === 1000) ? DEVICE_CLOSE.redirected : end.code,
    };
  }

  /** `current` did not work out, or asked to be left. */
  rotate(): void {
    const current = this.current();
    if (this.#redirects.length > 0) this.#redirects.shift();
    else if (current) this.leave(current.url);
  }

  /**
   * A session is open: its gateway is the one to return to, and if the list has it, the older addresses have
   * done their duty. Says whether that is news. To be called before `replace` takes the list of this
   * session's `welcome`.
   */
  arrived(address: GatewayAddress): boolean {
    this.#redirects = [];
    this.#tried.clear();
    this.#homeFirst = true;
    const news = this.#home !== address.url;
    this.#home = address.url;
    const done = this.#older.length > 0 && this.settled;
    if (done) {
      this.#older = [];
      this.#sort();
    }
    return news || done;
  }

  get #candidates(): readonly GatewayAddress[] {
    const home = this.#homeFirst && this.#list.find(({ url }) => url === this.#home);
    return home ? [home, ...this.#inOrder.filter(({ url }) => url !== home.url)] : this.#inOrder;
  }

  /** All were tried: from the beginning, but not with the one tried last if there is another. */
  #again(last: string): void {
    this.#tried.clear();
    if (this.#inOrder.length > 1 && this.#candidates[0]?.url === last) this.#tried.add(last);
  }

  #knows(url: string): boolean {
    return this.#inOrder.some((known) => known.url === url);
  }

  #note(distances: Distances): void {
    this.#distances.clear();
    for (const { name, url } of this.#list) {
      const ms = distances.get(url);
      if (ms !== undefined) this.#distances.set(name, ms);
    }
    this.#sort();
  }

  #sort(): void {
    this.#inOrder = [...this.#nearestFirst(this.#list), ...this.#older];
  }

  #nearestFirst(gateways: readonly GatewayAddress[]): readonly GatewayAddress[] {
    return this.#order(gateways, this.#distances, this.#avoided);
  }
}
