/** How far away gateways are (PROTOCOL.md, G-10). */
import { BAND_WIDTH, type BandWidth, type GatewayAddress } from '../../protocol/index.ts';

/**
 * Asks one gateway `count` times, one after another on one connection, and resolves with how long each took,
 * in milliseconds. Rejects when the gateway refuses, is not the one its address belongs to, or does not
 * answer within `timeoutMs`.
 */
export type Probe = (
  gateway: GatewayAddress,
  limits: { count: number; timeoutMs: number; signal: AbortSignal },
) => Promise<number[]>;

/**
 * With the width of the tie band (G-11): the fastest's time x `bandFactor` + `bandMs`. Default 1.5 and 10 ms.
 */
export interface ProbeOptions extends BandWidth {
  /**
   * Requests to each gateway; the shortest counts, for whatever is busy only adds to a distance. Default 3.
   */
  count: number;
  /** Longest time for one request, milliseconds. Default 2 s. */
  timeoutMs: number;
  /** Gateways probed at a time. Default 4. */
  concurrency: number;
  /** Gateways probed in a round, from the head of the list. Default 8. */
  maxGateways: number;
  /** Mean pause between the rounds of a connected device, milliseconds. Default 30 min. */
  everyMs: number;
  /**
   * Least pause before the first round at a gateway that is not the nearest measured, at most twice this;
   * then doubling up to `everyMs`. Where a gateway was never measured: up to ten times this. Milliseconds,
   * default 1 min.
   */
  soonMs: number;
  /** Mean pause after a round that speaks for leaving, milliseconds. Default 1 min. */
  confirmMs: number;
  /** Rounds in a row that must speak for leaving. Default 2. */
  rounds: number;
  /**
   * A gateway is not left for a nearer one before the device was there this long, milliseconds. Default 10
   * min. None where the device came because its nearer one was gone, unless it went back there less than this
   * ago.
   */
  dwellMs: number;
  /**
   * The same where the device was sent there for the load although a nearer one was measured. Default 6 h.
   */
  balancedDwellMs: number;
}

export const PROBE_DEFAULTS: ProbeOptions = {
  count: 3,
  timeoutMs: 2_000,
  concurrency: 4,
  maxGateways: 8,
  ...BAND_WIDTH,
  everyMs: 1_800_000,
  soonMs: 60_000,
  confirmMs: 60_000,
  rounds: 2,
  dwellMs: 600_000,
  balancedDwellMs: 21_600_000,
};

/** Round-trip times by url, milliseconds; `null` for a gateway that refused or did not answer. */
export type Distances = ReadonlyMap<string, number | null>;

/**
 * Probes the head of the list. Gateways that cannot be measured are a finding and no error, so it never
 * rejects.
 */
export async function probeRound(
  gateways: readonly GatewayAddress[],
  probe: Probe,
  { count, timeoutMs, concurrency, maxGateways }: ProbeOptions,
  signal: AbortSignal,
): Promise<Distances> {
  const distances = new Map<string, number | null>();
  const waiting = gateways.slice(0, maxGateways);
  const distance = async (gateway: GatewayAddress): Promise<number | null> => {
    // Also where a probe of the application's own throws at once, or gives something else.
    try {
      return shortest(await probe(gateway, { count, timeoutMs, signal }));
    } catch {
      return null;
    }
  };
  const lane = async () => {
    for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) {
      distances.set(next.url, await distance(next));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  return distances;
}

/** Without those that did not answer. */
export function measuredOf(distances: Distances): [string, number][] {
  return [...distances].filter((entry): entry is [string, number] => entry[1] !== null);
}

function shortest(times: readonly number[]): number | null {
  const least = Math.min(...times);
  return Number.isFinite(least) ? least : null;
}
