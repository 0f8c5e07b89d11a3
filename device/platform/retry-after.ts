/** Longest pause that a header can cause. */
const LONGEST_MS = 3_600_000;

/**
 * A Retry-After header (RFC 9110 section 10.2.3) as milliseconds from now; `undefined` where there is none.
 */
export function retryAfterMs(header: string | null | undefined, now = Date.now()): number | undefined {
  if (!header) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(ms) ? Math.min(LONGEST_MS, Math.max(0, ms)) : undefined;
}
