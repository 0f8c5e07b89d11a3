import type { DependencyReport } from '../../health/health.ts';
import type { LeaseList } from '../live-workers.ts';

const SINCE = new Date().toISOString();

/** What a person should change, as gateways report; `null` if there is nothing. */
export function gatewayReport(workers: LeaseList): DependencyReport | null {
  const warnings = new Set<string>();
  for (const { identity, load } of workers.list()) {
    // All workers of a gateway share its files.
    for (const warning of load.warnings ?? []) warnings.add(`${identity.gateway}: ${warning}`);
  }
  return warnings.size === 0 ? null : { ok: true, since: SINCE, warnings: [...warnings] };
}
