export interface Percentiles {
  p50: number;
  p90: number;
  p99: number;
}

/** `undefined` for an empty list. */
export function percentiles(samples: Float64Array): Percentiles | undefined {
  if (samples.length === 0) return undefined;
  const sorted = samples.slice().sort();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}
