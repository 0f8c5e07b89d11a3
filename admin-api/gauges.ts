/** Figures of the administration server that are read when metrics are collected. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { DirectoryState } from '../bus/bus.ts';
import type { DirectoryCounts } from './directory/projector.ts';

export interface AdminGauges {
  ready(): boolean;
  stuck(): number;
  /** The directory at the last check, and the outcomes of writing it. */
  directory(): DirectoryState & DirectoryCounts;
  /** Devices connected, as workers report. */
  connected(): number;
  /** Devices known as cloned. */
  cloned(): number;
  /** No device is connected, although many were. */
  fleetGone(): boolean;
  lostSeconds(): [dependency: string, seconds: number][];
  /** How far clocks are ahead of the shared one, milliseconds; `null` while unknown. */
  clocksAheadMs(): [clock: string, aheadMs: number | null][];
  /** Batches of receipts not applied yet; `null` if unknown. */
  receiptsBacklog(): Promise<number | null>;
  storeConflicts(): number;
  /** Time until the signing authority expires; `null` if unknown. */
  authorityDaysLeft(): Promise<number | null>;
}

export function registerAdminGauges(registry: Registry, gauges: AdminGauges): void {
  const registers = [registry];
  new Gauge({
    name: 'pushpoint_admin_ready',
    help: 'Whether everything the server depends on is available.',
    registers,
    collect() {
      this.set(gauges.ready() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'pushpoint_admin_loops_stuck',
    help: 'Stuck loops of the process.',
    registers,
    collect() {
      this.set(gauges.stuck());
    },
  });
  new Gauge({
    name: 'pushpoint_admin_directory_whole',
    help: 'Whether the directory is whole and belongs to this installation.',
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
    help:
      'Complete writes of the directory, by outcome: written, or lost because Redis was emptied ' +
      'meanwhile.',
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
    help: 'Devices connected, as gateways report.',
    registers,
    collect() {
      this.set(gauges.connected());
    },
  });
  new Gauge({
    name: 'pushpoint_admin_devices_cloned',
    help: 'Devices whose key two programs are known to use.',
    registers,
    collect() {
      this.set(gauges.cloned());
    },
  });
  new Gauge({
    name: 'pushpoint_admin_fleet_gone',
    help: 'Whether no device is connected although many were.',
    registers,
    collect() {
      this.set(gauges.fleetGone() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'pushpoint_admin_dependency_lost_seconds',
    help: 'How long a dependency has been missing.',
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
  new Gauge({
    name: 'pushpoint_admin_authority_days_left',
    help: 'Days until the internal authority that signs certificates of gateways expires.',
    registers,
    async collect() {
      this.set((await gauges.authorityDaysLeft()) ?? Number.NaN);
    },
  });
  new Counter({
    name: 'pushpoint_admin_store_conflicts_total',
    help: 'Database transactions that lost against another one (deadlocks) and were repeated.',
    registers,
    collect() {
      this.reset();
      this.inc(gauges.storeConflicts());
    },
  });
}
