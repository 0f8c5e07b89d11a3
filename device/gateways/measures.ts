/**
 * What the device knows of how far its gateways are, from round to round and from program to program
 * (PROTOCOL.md, G-10). By name: an address may change. What hardly changed counts as unchanged, so that the
 * noise of a network is no news.
 */
import {
  type GatewayAddress,
  LIMITS,
  MEASURING_LIMITS,
  type MeasuredGateway,
  tieBand,
} from '../../protocol/index.ts';
import type { Distances, ProbeOptions } from './probe.ts';

/** As it is kept across restarts: milliseconds by name. */
export type KeptMeasures = Readonly<Record<string, number>>;

/** Names kept, also of gateways that are not listed at the moment: a drained one comes back. */
const KEPT_MAX = 2 * LIMITS.gateways;
/** A gateway's distance is another when it is off by this, or by a quarter if that is more. */
const CHANGE_MS = 5;
const CHANGE_SHARE = 0.25;

export class GatewayMeasures {
  readonly #options: Pick<ProbeOptions, 'bandFactor' | 'bandMs' | 'maxGateways'>;
  /** Milliseconds by name, those measured last at the end. */
  readonly #ms = new Map<string, number>();
  /**
   * Asked last without an answer. What was measured before is kept: a full gateway refuses probes and serves
   * well.
   */
  readonly #silent = new Set<string>();

  constructor(options: Pick<ProbeOptions, 'bandFactor' | 'bandMs' | 'maxGateways'>, kept: KeptMeasures = {}) {
    this.#options = options;
    for (const [name, ms] of Object.entries(kept).slice(-KEPT_MAX)) this.#ms.set(name, ms);
  }

  get kept(): KeptMeasures {
    return Object.fromEntries(this.#ms);
  }

  /** As it is told to the server (B-1). */
  get told(): MeasuredGateway[] {
    return [...this.#ms]
      .map(([name, ms]) => ({ name, ms: Math.min(MEASURING_LIMITS.measuredMaxMs, Math.round(ms)) }))
      .sort((a, b) => a.ms - b.ms)
      .slice(0, MEASURING_LIMITS.measured);
  }

  /** Takes a round's findings over. Says whether what is held is another than before. */
  note(list: readonly GatewayAddress[], found: Distances): boolean {
    let news = false;
    for (const { name, url } of list) {
      const ms = found.get(url);
      if (ms === undefined) continue;
      if (ms === null) {
        this.#silent.add(name);
        continue;
      }
      this.#silent.delete(name);
      const held = this.#ms.get(name);
      const same = held !== undefined && Math.abs(ms - held) <= Math.max(CHANGE_MS, held * CHANGE_SHARE);
      this.#ms.delete(name);
      this.#ms.set(name, same ? held : ms);
      news ||= !same;
    }
    for (const name of this.#ms.keys()) {
      if (this.#ms.size <= KEPT_MAX) break;
      this.#ms.delete(name);
    }
    return news;
  }

  /**
   * What is held of the gateways in `list`, by url; `null` for one that did not answer when it was asked
   * last.
   */
  of(list: readonly GatewayAddress[]): Distances {
    const distances = new Map<string, number | null>();
    for (const { name, url } of list) {
      const ms = this.#silent.has(name) ? null : this.#ms.get(name);
      if (ms !== undefined) distances.set(url, ms);
    }
    return distances;
  }

  /**
   * Whether the gateway `own` is as near as any other in `list`, whether those answer at the moment or not.
   */
  standing(list: readonly GatewayAddress[], own: string): 'near' | 'away' | 'unsure' {
    const nearest = tieBand(
      list.flatMap(({ name }) => this.#entry(name)),
      this.#options,
    );
    if (nearest.size > 0 && !nearest.has(own)) return 'away';
    const head = list.slice(0, this.#options.maxGateways);
    return head.some(({ name }) => this.#unasked(name)) ? 'unsure' : 'near';
  }

  /**
   * Of `list`, the gateway `own`, what was measured nearer, and what was never asked: enough to tell whether
   * to leave it.
   */
  rivals(list: readonly GatewayAddress[], own: string): GatewayAddress[] {
    const here = this.#ms.get(own);
    return list.filter(({ name }, index) => {
      if (name === own) return true;
      if (this.#unasked(name)) return index < this.#options.maxGateways;
      const there = this.#entry(name);
      if (there.length === 0 || here === undefined) return there.length > 0;
      return !tieBand([...there, [own, here]], this.#options).has(own);
    });
  }

  #entry(name: string): [string, number][] {
    const ms = this.#ms.get(name);
    return ms === undefined ? [] : [[name, ms]];
  }

  #unasked(name: string): boolean {
    return !this.#ms.has(name) && !this.#silent.has(name);
  }
}
