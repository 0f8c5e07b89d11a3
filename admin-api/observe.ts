/** The sources of an administration server's health, liveness and metrics. */
import { registerBusMetrics } from '../bus/bus-metrics.ts';
import { registerLogMetrics } from '../bus/log-metrics.ts';
import { registerProgramMetrics } from '../bus/program-metrics.ts';
import type { Certificates } from '../bus/tls/certificates.ts';
import { lostSeconds } from '../health/health.ts';
import type { AdminParts } from './compose.ts';
import { registerAdminGauges } from './gauges.ts';
import { gatewayReport } from './health/gateway-report.ts';

export function observe(parts: AdminParts, version: string, certificates: Certificates): void {
  const { registry, bus, log } = parts;
  registerProgramMetrics(registry, version);
  registerBusMetrics(registry, bus);
  registerLogMetrics(registry, log);
  registerGauges(parts);
  watchLoops(parts);
  certificates.register(registry);
  addDependencies(parts, certificates);
}

function addDependencies(parts: AdminParts, certificates: Certificates): void {
  const { health, clocks, directory, fleet, leases, canaries, aside, forged, cloned } = parts;
  health.add('certificate', () => certificates.report());
  health.add('gateways', () => gatewayReport(leases));
  health.add('clocks', () => clocks.report());
  health.add('directory', () => directory.dependency.report());
  health.add('fleet', () => fleet.report());
  health.add('canary', () => canaries.dependency.report());
  health.add('receipts', () => aside.report());
  health.add('results', () => forged.report());
  health.add('copies', () => cloned.report());
}

function watchLoops({
  loops,
  overdue,
  finalizer,
  hub,
  leases,
  directory,
  dispatcher,
  ingest,
}: AdminParts): void {
  loops.watch('overdue executions', () => overdue.rounds);
  loops.watch('finalizer', () => finalizer.rounds);
  loops.watch('events', () => hub.rounds);
  loops.watch('leases', () => leases.rounds);
  loops.watch('directory', () => directory.rounds);
  loops.watch(
    'dispatcher',
    () => dispatcher.rounds,
    () => dispatcher.idle,
  );
  loops.watch(
    'receipts',
    () => ingest.rounds,
    () => ingest.idle,
  );
}

function registerGauges({
  registry,
  health,
  directory,
  fleet,
  clocks,
  cloned,
  store,
  bus,
  authority,
}: AdminParts): void {
  registerAdminGauges(registry, {
    ready: () => health.readiness().ready,
    directory: () => ({ ...directory.state, ...directory.counts }),
    connected: () => fleet.connected,
    cloned: () => cloned.size,
    fleetGone: () => fleet.warning !== null,
    stuck: () => health.stuck,
    lostSeconds: () =>
      Object.entries(health.readiness().dependencies).map(([name, report]) => [name, lostSeconds(report)]),
    clocksAheadMs: () => clocks.aheadMs(),
    storeConflicts: () => store.conflicts(),
    authorityDaysLeft: () => authority.daysLeft().catch(() => null),
    receiptsBacklog: () =>
      bus.status().available ? bus.receipts.backlog().catch(() => null) : Promise.resolve(null),
  });
}
