/**
 * Clocks that are apart are told of: the shared clock keeps commands from harm, but logs, certificates and
 * tokens go by each machine's own.
 */
import type { DependencyReport } from '../health/health.ts';

const APART_MS = 2_000;

/**
 * `ahead`: by whose clock, and how far it is ahead of the one that all share, milliseconds; `null` while that
 * is not known.
 */
export function clockWarnings(ahead: ReadonlyMap<string, number | null>): string[] {
  return [...ahead].flatMap(([whose, aheadMs]) => {
    if (aheadMs === null || Math.abs(aheadMs) <= APART_MS) return [];
    const by = `${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
    return [`the clock of ${whose} is ${by} the one that all programs share: set the clocks by NTP`];
  });
}

/** Clocks are never a reason not to be ready. */
export function clockReport(ahead: ReadonlyMap<string, number | null>, since: Date): DependencyReport {
  const warnings = clockWarnings(ahead);
  return { ok: true, since: since.toISOString(), ...(warnings.length > 0 && { warnings }) };
}
