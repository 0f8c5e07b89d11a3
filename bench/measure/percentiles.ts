/**
 * The value that `share` (0 to 1) of the values do not exceed; `values` must be in ascending order. NaN when
 * there are none.
 */
export function percentile(values: ArrayLike<number>, share: number): number {
  if (values.length === 0) return Number.NaN;
  const index = Math.min(values.length - 1, Math.max(0, Math.ceil(share * values.length) - 1));
  return values[index] as number;
}
