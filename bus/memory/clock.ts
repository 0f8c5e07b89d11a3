/**
 * Milliseconds from a clock that no one can set: leases must not end, or live on, because the time of day was
 * changed.
 */
export function monotonicMs(): number {
  return performance.now();
}
