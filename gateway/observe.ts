/** The sources of a worker's liveness and metrics. */
import type { Registry } from 'prom-client';
import { registerBusMetrics } from '../bus/bus-metrics.ts';
import { registerLogMetrics } from '../bus/log-metrics.ts';
import { registerProgramMetrics } from '../bus/program-metrics.ts';
import { lostSeconds } from '../health/health.ts';
import type { WorkerParts } from './worker-parts.ts';

export function observe(parts: WorkerParts, registry: Registry): void {
  const { worker, version, bus, log, metrics, certificates } = parts;
  watchLoops(parts);
  metrics.register(registry, worker, gaugesOf(parts));
  registerBusMetrics(registry, bus, { worker });
  certificates.register(registry, { worker });
  registerLogMetrics(registry, log, { worker });
  registerProgramMetrics(registry, version, { worker });
}

function watchLoops({ loops, keeper, leaseWork, spool }: WorkerParts): void {
  loops.watch('lease', () => keeper.rounds);
  loops.watch(
    'outbox',
    () => leaseWork.rounds,
    () => keeper.last === null,
  );
  loops.watch(
    'receipts',
    () => spool.rounds,
    () => spool.size === 0,
  );
}

function gaugesOf(parts: WorkerParts) {
  const {
    connections,
    unauthenticatedSockets,
    unauthenticatedLimit,
    spool,
    listener,
    draining,
    canary,
    status,
  } = parts;
  const { relay } = parts.tunnels;
  return {
    connections: () => connections.count,
    unauthenticatedSockets: () => unauthenticatedSockets.counts,
    unauthenticatedLimit: () => unauthenticatedLimit.now,
    sessions: () => connections.devices,
    spooledReceipts: () => spool.size,
    spoolFill: () => spool.fill,
    now: parts.now,
    clockAheadMs: () => parts.bus.clock.aheadMs(),
    spoolOldestAt: () => spool.oldestAt,
    bufferedBytes: () => connections.bufferedBytes(),
    limit: () => listener.limit,
    leaving: () => draining.left,
    canaryConfirmed: () => canary?.confirmed ?? 0,
    ready: () => status.readiness().ready,
    lostSeconds: () =>
      Object.entries(status.readiness().dependencies).map(([name, report]): [string, number] => [
        name,
        lostSeconds(report),
      ]),
    stuck: () => parts.loops.stuck,
    tunnels: () => relay.size,
    tunnelLegs: () => relay.legs,
    tunnelBufferedBytes: () => relay.bufferedBytes(),
    tunnelBytes: () => relay.bytes(),
  };
}
