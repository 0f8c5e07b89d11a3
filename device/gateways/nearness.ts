/**
 * Measuring how far gateways are, and going to a near one (PROTOCOL.md, G-10 to G-14): a part that a program
 * passes in, so that a bundler leaves it out of a page that does without.
 */
import { type BandWidth, type GatewayAddress, type MeasuredGateway, tieBands } from '../../protocol/index.ts';
import type { NearestFirst } from './choice.ts';
import { MeasureNews } from './measure-news.ts';
import { GatewayMeasures, type KeptMeasures } from './measures.ts';
import { type Distances, PROBE_DEFAULTS, type Probe, type ProbeOptions, probeRound } from './probe.ts';
import { GatewayWatch } from './watch.ts';

export interface Nearness {
  readonly order: NearestFirst;
  /** What outlives the program. */
  readonly kept: KeptMeasures;
  /** What beats have to tell (B-1). */
  readonly news: { readonly urgent: boolean; take(): MeasuredGateway[] | undefined };
  /** The device starts, with what an earlier program kept. */
  begin(kept: KeptMeasures | undefined): void;
  /** All that is known of these gateways. */
  of(list: readonly GatewayAddress[]): Distances;
  /** Measures them once, before a choice. */
  round(signal: AbortSignal): Promise<unknown>;
  /** A session is open; `balanced`: the device was sent there for that. */
  arrived(url: string, balanced: boolean): void;
  /** There is another list, during a session. */
  listed(): void;
  /** The network may be another: compares the gateways now. */
  check(): Promise<void>;
  /** The session is over. */
  left(): void;
}

export interface NearnessHooks {
  list(): readonly GatewayAddress[];
  /** The gateway of the session. */
  own(): GatewayAddress | undefined;
  /** There is another distance than before, to be stored. */
  changed(): void;
  /** Beats may have news. */
  told(): void;
  measured(distances: Distances): void;
  move(to: GatewayAddress): void;
  random: () => number;
}

export type MakeNearness = (hooks: NearnessHooks) => Nearness;

/** `options`: how and how often. */
export function nearness(probe: Probe, options: Partial<ProbeOptions> = {}): MakeNearness {
  return (hooks) => new MeasuredNearness(probe, { ...PROBE_DEFAULTS, ...options }, hooks);
}

/**
 * Tie band after tie band, then what was not measured, then what did not answer; each in the order given.
 */
export function nearestFirst(width: BandWidth): NearestFirst {
  return (gateways, distances, avoided) => {
    const measured = gateways.flatMap(({ name, url }): [string, number][] => {
      const ms = distances.get(name);
      return typeof ms === 'number' ? [[url, ms]] : [];
    });
    const bands = tieBands(measured, width);
    const place = ({ name, url }: GatewayAddress): number => {
      if (url === avoided) return bands.length + 2;
      if (distances.get(name) === null) return bands.length + 1;
      const band = bands.findIndex((urls) => urls.includes(url));
      return band < 0 ? bands.length : band;
    };
    return [...gateways].sort((a, b) => place(a) - place(b));
  };
}

class MeasuredNearness implements Nearness {
  readonly #probe: Probe;
  readonly #hooks: NearnessHooks;
  readonly #watch: GatewayWatch;
  #measures: GatewayMeasures;
  readonly #options: ProbeOptions;
  readonly order: NearestFirst;
  readonly news = new MeasureNews();

  constructor(probe: Probe, options: ProbeOptions, hooks: NearnessHooks) {
    this.#probe = probe;
    this.#options = options;
    this.order = nearestFirst(options);
    this.#hooks = hooks;
    this.#measures = new GatewayMeasures(options);
    const { list, random } = hooks;
    this.#watch = new GatewayWatch({
      options,
      round: (signal, rivals) => this.round(signal, rivals),
      list,
      standing: () => this.#measures.standing(list(), hooks.own()?.name ?? ''),
      measured: () => hooks.measured(this.of(list())),
      move: (to) => hooks.move(to),
      random,
    });
  }

  get kept(): KeptMeasures {
    return this.#measures.kept;
  }

  begin(kept: KeptMeasures | undefined): void {
    this.#measures = new GatewayMeasures(this.#options, kept);
  }

  of(list: readonly GatewayAddress[]): Distances {
    return this.#measures.of(list);
  }

  /** `rivals`: only the gateways that tell whether to leave the one it is on. */
  async round(signal: AbortSignal, rivals = false): Promise<Distances> {
    const own = this.#hooks.own();
    const list = this.#hooks.list();
    const asked = rivals && own ? this.#measures.rivals(list, own.name) : list;
    // A long list is not probed to its end, and without its own gateway a device could compare nothing.
    const ownFirst = [...asked].sort((a, b) => Number(b.url === own?.url) - Number(a.url === own?.url));
    const found = await probeRound(ownFirst, this.#probe, this.#options, signal);
    if (signal.aborted) return found;
    if (this.#measures.note(ownFirst, found)) {
      this.news.changed(this.#measures.told);
      this.#hooks.changed();
    } else {
      this.news.unchanged(this.#measures.told);
    }
    this.#hooks.told();
    return this.of(ownFirst.filter(({ url }) => found.has(url)));
  }

  arrived(url: string, balanced: boolean): void {
    this.#watch.arrived(url, balanced);
  }

  listed(): void {
    this.#watch.listed();
  }

  check(): Promise<void> {
    return this.#watch.check();
  }

  left(): void {
    this.#watch.left();
    this.news.sessionEnded();
  }
}
