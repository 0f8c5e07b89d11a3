/**
 * Which gateways are equally near to a device (PROTOCOL.md, G-11). Devices and administration servers use the
 * same rule.
 */

export interface BandWidth {
  /** A gateway is in the tie band up to the fastest's time x `bandFactor` + `bandMs`. */
  bandFactor: number;
  bandMs: number;
}

export const BAND_WIDTH: Readonly<BandWidth> = { bandFactor: 1.5, bandMs: 10 };

/**
 * The names (or urls) in the tie band of those measured, milliseconds by name. Empty where nothing was
 * measured.
 */
export function tieBand(measured: Iterable<readonly [string, number]>, width = BAND_WIDTH): Set<string> {
  return new Set(tieBands(measured, width)[0]);
}

/** Band after band, the nearest first: each is the tie band of those that are in none before it. */
export function tieBands(measured: Iterable<readonly [string, number]>, width = BAND_WIDTH): string[][] {
  const bands: string[][] = [];
  let within = Number.NEGATIVE_INFINITY;
  for (const [name, ms] of [...measured].sort((a, b) => a[1] - b[1])) {
    if (ms > within) {
      bands.push([]);
      within = ms * width.bandFactor + width.bandMs;
    }
    bands.at(-1)?.push(name);
  }
  return bands;
}
