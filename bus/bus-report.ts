import type { DependencyReport } from '../health/health.ts';
import type { BusStatus } from './bus.ts';

/** The state of the bus as a health report. */
export function busReport({
  available,
  since,
  reason,
  parts,
  warnings = [],
  refused = [],
}: BusStatus): DependencyReport {
  return {
    ok: available,
    since: new Date(since).toISOString(),
    ...(reason !== undefined && { reason }),
    ...(parts !== undefined && {
      parts: parts.map((part) => ({ ...part, since: new Date(part.since).toISOString() })),
    }),
    ...(warnings.length + refused.length > 0 && { warnings: [...warnings, ...refused] }),
  };
}
