import { CLOSE, type GatewayAddress } from '../protocol/index.ts';
import type { ConnectionEnd } from './connection.ts';
import { type Distances, PROBE_DEFAULTS, type ProbeOptions, tieBand } from './gateway-probe.ts';

/** Close codes that say this gateway is not the one to return to (G-2). */
const LEAVE = new Set<number>([
  CLOSE.draining,
  CLOSE.redirected,
  CLOSE.outOfScope,
  CLOSE.overloaded,
  CLOSE.notReady,
]);

/** Addresses kept behind the list. */
const MAX_OLDER = 32;

const NOTHING_MEASURED: Distances = new Map();

function usable(list: readonly GatewayAddress[], from: string | undefined): GatewayAddress[] {
  const pattern = from && /^wss:/i.test(from) ? /^wss:\/\//i : /^wss?:\/\//i;
  return list.filter(({ url }) => pattern.test(url));
}

/**
 * Which gateway to try next: those a redirect named first, then the list, going round after failures. The list is tried in
 * the server's order, as far as what was measured does not speak against it (G-11). A session puts the list back to
 * its gateway.
 */
export class GatewayChoice {
  readonly #band: Pick<ProbeOptions, 'bandFactor' | 'bandMs'>;
  #list: GatewayAddress[] = [];
  /** Addresses of earlier lists, the newest first: tried after the list until a gateway of it has admitted the device (G-1). */
  #older: GatewayAddress[] = [];
  /** The list in the order it is tried, and the older addresses after it. */
  #order: GatewayAddress[] = [];
  #redirects: GatewayAddress[] = [];
  #next = 0;
  #home: string | undefined;
  #distances = NOTHING_MEASURED;
  #avoided: string | undefined;

  /** `home`: url of the gateway of the last session, also of an earlier program's. */
  constructor(
    list: readonly GatewayAddress[],
    home?: string,
    band: Pick<ProbeOptions, 'bandFactor' | 'bandMs'> = PROBE_DEFAULTS,
    older: readonly GatewayAddress[] = [],
  ) {
    this.#band = band;
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
    return this.#order.length;
  }

  get home(): string | undefined {
    return this.#home;
  }

  /** Whether there is a gateway to return to. */
  get settled(): boolean {
    return this.#list.some(({ url }) => url === this.#home);
  }

  /**
   * `welcome` and `update` carry the whole list (G-1); an empty one is not believed, as it would strand the device. `from`: url
   * of the gateway that says so; by TLS, nothing without it is believed.
   */
  replace(list: readonly GatewayAddress[], from?: string): boolean {
    const next = usable(list, from);
    if (next.length === 0 || JSON.stringify(next) === JSON.stringify(this.#list)) return false;
    const listed = new Set(next.map(({ url }) => url));
    const before = usable([...this.#list, ...this.#older], from);
    this.#older = before.filter(({ url }) => !listed.has(url)).slice(0, MAX_OLDER);
    this.#list = next;
    this.#sort();
    this.#next = this.settled ? this.#indexOf(this.#home) : 0;
    return true;
  }

  /** News of how far the gateways are; it does not change which is the next. */
  measured(distances: Distances): void {
    const next = this.#order[this.#next]?.url;
    this.#distances = distances;
    this.#avoided = undefined;
    this.#sort();
    this.#next = Math.max(0, this.#indexOf(next));
  }

  /** G-11: begins with the best. One to be avoided, which the device has cause to leave, comes last however near. */
  arrange(distances: Distances, avoided?: string): void {
    this.#distances = distances;
    this.#avoided = avoided;
    this.#sort();
    this.#next = 0;
  }

  /** Go to these first (G-3), and if none of them admits the device, to another than `from`. */
  redirect(to: readonly GatewayAddress[], from: string): void {
    this.#redirects = usable(to, from);
    this.leave(from);
  }

  /** The next is another than this one. */
  leave(url: string): void {
    if (this.#order[this.#next]?.url === url) this.#advance();
  }

  get redirected(): boolean {
    return this.#redirects.length > 0;
  }

  current(): GatewayAddress | undefined {
    return this.#redirects[0] ?? this.#order[this.#next];
  }

  /**
   * A connection ended. Returns whether the device was sent elsewhere, and how the end counts for the pause that follows: one
   * that leads elsewhere is "now", whatever the device closed with itself (G-3).
   */
  ended(
    { url }: GatewayAddress,
    end: Pick<ConnectionEnd, 'code' | 'after' | 'gateways'>,
  ): { sent: boolean; code: number } {
    // One that was itself named by a refusal is not asked for names: two full ones would send the device to and fro (G-15).
    const named = this.redirected ? undefined : end.gateways;
    if (named) this.redirect(this.#inListOrder(named), url);
    const sent = this.redirected && this.current()?.url !== url;
    if (!sent) {
      if (end.after !== 'session') this.rotate();
      else if (LEAVE.has(end.code)) this.leave(url);
    }
    return { sent, code: sent && (named || end.code === 1000) ? CLOSE.redirected : end.code };
  }

  /** `current` did not work out, or asked to be left. */
  rotate(): void {
    if (this.#redirects.length > 0) this.#redirects.shift();
    else this.#advance();
  }

  /**
   * A session is open: its gateway is the one to return to, and if the list has it, the older addresses have done their duty. Says
   * whether that is news. To be called before `replace` takes the list of this session's `welcome`.
   */
  arrived(address: GatewayAddress): boolean {
    this.#redirects = [];
    const news = this.#home !== address.url;
    this.#home = address.url;
    const done = this.#older.length > 0 && this.settled;
    if (done) {
      this.#older = [];
      this.#sort();
    }
    this.#next = Math.max(0, this.#indexOf(address.url));
    return news || done;
  }

  #advance(): void {
    this.#next = (this.#next + 1) % Math.max(1, this.#order.length);
  }

  /** Who is refused with others is told the same names as they: by their own lists they go different ways. */
  #inListOrder(named: readonly GatewayAddress[]): GatewayAddress[] {
    const place = ({ url }: GatewayAddress): number => {
      const index = this.#indexOf(url);
      return index < 0 ? this.#order.length : index;
    };
    return [...named].sort((a, b) => place(a) - place(b));
  }

  #indexOf(url: string | undefined): number {
    return this.#order.findIndex((known) => known.url === url);
  }

  /** The tie band, then what was not measured or is slower, then what did not answer; each in the list's order. */
  #sort(): void {
    const band = tieBand(this.#distances, this.#band);
    const place = ({ url }: GatewayAddress): number => {
      if (url === this.#avoided) return 3;
      if (band.has(url)) return 0;
      return this.#distances.get(url) === null ? 2 : 1;
    };
    this.#order = [...this.#list].sort((a, b) => place(a) - place(b)).concat(this.#older);
  }
}
