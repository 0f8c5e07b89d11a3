import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { DirectoryState } from '../bus/bus.ts';
import type { DirectoryCounts } from './directory/projector.ts';

/**
 * The administration server's own metrics, named in one place; those of its HTTP API are in
 * `http/metrics.ts`.
 */
/** What is asked for when metrics are collected. */
export interface AdminGauges {
  ready(): boolean;
  stuck(): number;
  /** The directory at the last look, and what became of writings of it. */
  directory(): DirectoryState & DirectoryCounts;
  /** Devices connected, by the word of the workers. */
  connected(): number;
  /** None is connected where many were. */
  fleetGone(): boolean;
  lostSeconds(): [dependency: string, seconds: number][];
  /** How far clocks are ahead of the shared one, milliseconds; `null` while that is not known. */
  clocksAheadMs(): [clock: string, aheadMs: number | null][];
  /** Batches of receipts not applied yet; `null` when that is not known. */
  receiptsBacklog(): Promise<number | null>;
  storeConflicts(): number;
}

export function createAdminMetrics(registry: Registry) {
  const registers = [registry];
  return {
    dispatched: new Counter({
      name: 'pushpoint_admin_dispatched_total',
      help: 'Executions handed to a worker, repeats included.',
      registers,
    }),
    undispatched: new Counter({
      name: 'pushpoint_admin_undispatched_total',
      help: 'Executions a worker could not be handed, by why: gone, full, unavailable.',
      labelNames: ['why'],
      registers,
    }),
    requeued: new Counter({
      name: 'pushpoint_admin_requeued_total',
      help: 'Executions that fell back from sent to queued, by why.',
      labelNames: ['why'],
      registers,
    }),
    finished: new Counter({
      name: 'pushpoint_admin_executions_finished_total',
      help: 'Executions that reached a final state by what devices said, by state.',
      labelNames: ['state'],
      registers,
    }),
    ended: new Counter({
      name: 'pushpoint_admin_executions_ended_total',
      help: 'Executions that the ledger ended after they had been sent or were due, by state, and whether all gateways had been heard.',
      labelNames: ['state', 'heard'],
      registers,
    }),
    late: new Counter({
      name: 'pushpoint_admin_late_ends_total',
      help: 'Ends that devices reported for executions ended before, by the end given, the one reported, and whether the gateway had it in time.',
      labelNames: ['ended', 'late', 'in_time'],
      registers,
    }),
    displaced: new Counter({
      name: 'pushpoint_admin_sessions_displaced_total',
      help: 'Sessions that another program with the same key ended, as the device says.',
      registers,
    }),
    receipts: new Counter({
      name: 'pushpoint_admin_receipts_total',
      help: 'Receipts applied, by kind.',
      labelNames: ['kind'],
      registers,
    }),
    receiptsPutAside: new Counter({
      name: 'pushpoint_admin_receipts_put_aside_total',
      help: 'Receipts that cannot be applied, whatever is tried.',
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
      help: 'Devices told to go to another gateway to spread the load, by gateways.',
      labelNames: ['from', 'to'],
      registers,
    }),
    balanceDeviation: new Gauge({
      name: 'pushpoint_admin_balance_deviation',
      help: 'How far the most uneven gateway is from its share of the devices, as a part of it; from the server that balances.',
      registers,
    }),
    tunnelsLive: new Gauge({
      name: 'pushpoint_admin_tunnels',
      help: 'Tunnels that have not ended.',
      registers,
    }),
    tunnelsEnded: new Counter({
      name: 'pushpoint_admin_tunnels_ended_total',
      help: 'Tunnels that ended, by why.',
      labelNames: ['code'],
      registers,
    }),
    canarySeconds: new Histogram({
      name: 'pushpoint_admin_canary_seconds',
      help: 'Round trips to canaries of gateway workers that this server put on record.',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    canaryRoundTrip: new Gauge({
      name: 'pushpoint_admin_canary_round_trip_seconds',
      help: 'The last round trip on record to the canary of each gateway worker.',
      labelNames: ['worker'],
      registers,
    }),
    canaryAge: new Gauge({
      name: 'pushpoint_admin_canary_age_seconds',
      help: 'How long ago the last round trip to the canary of each gateway worker was.',
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

/** The metrics that are read when they are asked for. */
export function registerAdminGauges(registry: Registry, gauges: AdminGauges): void {
  const registers = [registry];
  new Gauge({
    name: 'pushpoint_admin_ready',
    help: 'Whether everything the server depends on is there.',
    registers,
    collect() {
      this.set(gauges.ready() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'pushpoint_admin_loops_stuck',
    help: 'Loops of the process that go round no more.',
    registers,
    collect() {
      this.set(gauges.stuck());
    },
  });
  new Gauge({
    name: 'pushpoint_admin_directory_whole',
    help: 'Whether the directory that gateways admit devices by is whole and of this installation.',
    registers,
    collect() {
      this.set(gauges.directory().generation === null ? 0 : 1);
    },
  });
  new Gauge({
    name: 'pushpoint_admin_directory_devices',
    help: 'Entries in the directory, those of canaries included.',
    registers,
    collect() {
      this.set(gauges.directory().devices);
    },
  });
  new Counter({
    name: 'pushpoint_admin_directory_writes_total',
    help: 'Writings of the whole directory, by outcome: written, or lost because Redis was emptied meanwhile.',
    labelNames: ['outcome'],
    registers,
    collect() {
      const { written, lost } = gauges.directory();
      this.reset();
      this.inc({ outcome: 'written' }, written);
      this.inc({ outcome: 'lost' }, lost);
    },
  });
  new Gauge({
    name: 'pushpoint_admin_devices_connected',
    help: 'Devices connected, by the word of the gateways.',
    registers,
    collect() {
      this.set(gauges.connected());
    },
  });
  new Gauge({
    name: 'pushpoint_admin_fleet_gone',
    help: 'Whether no device is connected where many were.',
    registers,
    collect() {
      this.set(gauges.fleetGone() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'pushpoint_admin_dependency_lost_seconds',
    help: 'How long something it depends on has not been there.',
    labelNames: ['dependency'],
    registers,
    collect() {
      for (const [dependency, seconds] of gauges.lostSeconds()) this.set({ dependency }, seconds);
    },
  });
  new Gauge({
    name: 'pushpoint_admin_clock_ahead_seconds',
    help: 'How far the clocks of the server and the database are ahead of the one that all programs share.',
    labelNames: ['clock'],
    registers,
    collect() {
      this.reset();
      for (const [clock, aheadMs] of gauges.clocksAheadMs()) {
        if (aheadMs !== null) this.set({ clock }, aheadMs / 1000);
      }
    },
  });
  new Gauge({
    name: 'pushpoint_admin_receipts_backlog',
    help: 'Batches of receipts that no administration server has applied yet.',
    registers,
    async collect() {
      this.set((await gauges.receiptsBacklog()) ?? Number.NaN);
    },
  });
  new Counter({
    name: 'pushpoint_admin_store_conflicts_total',
    help: 'Database transactions that lost against another one (deadlocks) and were run again.',
    registers,
    collect() {
      this.reset();
      this.inc(gauges.storeConflicts());
    },
  });
}
