/**
 * Reports clocks that disagree. The shared clock protects commands, but logs, certificates and tokens depend
 * on each machine's own clock.
 */
import type { DependencyReport } from '../health/health.ts';

const APART_MS = 2_000;

/** `ahead`: how far each clock is ahead of the shared one, milliseconds; `null` while unknown. */
export function clockWarnings(ahead: ReadonlyMap<string, number | null>): string[] {
  return [...ahead].flatMap(([whose, aheadMs]) => {
    if (aheadMs === null || Math.abs(aheadMs) <= APART_MS) return [];
    const by = `${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
    return [`the clock of ${whose} is ${by} the one that all programs share: set the clocks by NTP`];
  });
}

/** A wrong clock never makes a program unready. */
export function clockReport(ahead: ReadonlyMap<string, number | null>, since: Date): DependencyReport {
  const warnings = clockWarnings(ahead);
  return { ok: true, since: since.toISOString(), ...(warnings.length > 0 && { warnings }) };
}
