/**
 * Metrics that the administration server counts as things happen. `gauges.ts` has figures that are read on
 * collection, `http/metrics.ts` those of the HTTP API.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export function createAdminMetrics(registry: Registry) {
  const registers = [registry];
  return {
    dispatched: new Counter({
      name: 'pushpoint_admin_dispatched_total',
      help: 'Executions handed to a worker, including repeats.',
      registers,
    }),
    undispatched: new Counter({
      name: 'pushpoint_admin_undispatched_total',
      help: 'Executions that could not be handed to a worker, by reason: gone, full, unavailable.',
      labelNames: ['why'],
      registers,
    }),
    requeued: new Counter({
      name: 'pushpoint_admin_requeued_total',
      help: 'Executions that fell back from sent to queued, by reason.',
      labelNames: ['why'],
      registers,
    }),
    finished: new Counter({
      name: 'pushpoint_admin_executions_finished_total',
      help: 'Executions ended by reports of devices, by state.',
      labelNames: ['state'],
      registers,
    }),
    ended: new Counter({
      name: 'pushpoint_admin_executions_ended_total',
      help:
        'Executions that the ledger ended after they were sent or due, by state, and whether it had ' +
        'heard from all gateways.',
      labelNames: ['state', 'heard'],
      registers,
    }),
    late: new Counter({
      name: 'pushpoint_admin_late_ends_total',
      help:
        'Final states that devices reported for ended executions, by recorded state, reported state, and ' +
        'whether the gateway had the report in time.',
      labelNames: ['ended', 'late', 'in_time'],
      registers,
    }),
    displaced: new Counter({
      name: 'pushpoint_admin_sessions_displaced_total',
      help: 'Sessions that another program with the same key ended, as the device reports.',
      registers,
    }),
    cloned: new Counter({
      name: 'pushpoint_admin_devices_found_cloned_total',
      help: 'Devices found to be cloned: two programs with one key answered at the same time.',
      registers,
    }),
    receipts: new Counter({
      name: 'pushpoint_admin_receipts_total',
      help: 'Receipts applied, by kind.',
      labelNames: ['kind'],
      registers,
    }),
    keysWanted: new Counter({
      name: 'pushpoint_admin_group_keys_wanted_total',
      help: 'Keys of groups that devices asked for, by answer: sent, refused, later.',
      labelNames: ['answer'],
      registers,
    }),
    resultsRefused: new Counter({
      name: 'pushpoint_admin_results_refused_total',
      help: 'Results that their devices did not make, by the gateway worker that brought them.',
      labelNames: ['worker'],
      registers,
    }),
    statusesRefused: new Counter({
      name: 'pushpoint_admin_statuses_refused_total',
      help: 'Statuses that their devices did not make, by the gateway worker that brought them.',
      labelNames: ['worker'],
      registers,
    }),
    receiptsLate: new Counter({
      name: 'pushpoint_admin_receipts_late_total',
      help: 'Receipts of a gateway that arrived after their device had moved to another one; not applied.',
      registers,
    }),
    receiptsPutAside: new Counter({
      name: 'pushpoint_admin_receipts_put_aside_total',
      help: 'Receipts put aside because they cannot be applied.',
      registers,
    }),
    applySeconds: new Histogram({
      name: 'pushpoint_admin_receipts_apply_seconds',
      help: 'Time to apply one batch of receipts to the store.',
      buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    balanceMoves: new Counter({
      name: 'pushpoint_admin_balance_moves_total',
      help: 'Devices redirected to another gateway to spread the load, by gateways.',
      labelNames: ['from', 'to'],
      registers,
    }),
    balanceDeviation: new Gauge({
      name: 'pushpoint_admin_balance_deviation',
      help:
        'Deviation of the most uneven gateway from its share of the devices, as a part of it; from the ' +
        'server that balances.',
      registers,
    }),
    tunnelsLive: new Gauge({
      name: 'pushpoint_admin_tunnels',
      help: 'Tunnels that have not ended.',
      registers,
    }),
    tunnelsEnded: new Counter({
      name: 'pushpoint_admin_tunnels_ended_total',
      help: 'Tunnels that ended, by reason.',
      labelNames: ['code'],
      registers,
    }),
    canarySeconds: new Histogram({
      name: 'pushpoint_admin_canary_seconds',
      help: 'Round trips to canaries of gateway workers that this server recorded.',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    canaryRoundTrip: new Gauge({
      name: 'pushpoint_admin_canary_round_trip_seconds',
      help: 'The last recorded round trip to the canary of each gateway worker.',
      labelNames: ['worker'],
      registers,
    }),
    canaryAge: new Gauge({
      name: 'pushpoint_admin_canary_age_seconds',
      help: 'Time since the last round trip to the canary of each gateway worker.',
      labelNames: ['worker'],
      registers,
    }),
    workers: new Gauge({
      name: 'pushpoint_admin_workers',
      help: 'Gateway workers that hold a lease.',
      registers,
    }),
  };
}

export type AdminMetrics = ReturnType<typeof createAdminMetrics>;
