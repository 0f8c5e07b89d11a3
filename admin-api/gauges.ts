/** Figures of the administration server that are read when somebody asks for the metrics. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { DirectoryState } from '../bus/bus.ts';
import type { DirectoryCounts } from './directory/projector.ts';

export interface AdminGauges {
  ready(): boolean;
  stuck(): number;
  /** The directory at the last look, and what became of writings of it. */
  directory(): DirectoryState & DirectoryCounts;
  /** Devices connected, by the word of the workers. */
  connected(): number;
  /** Devices known as cloned. */
  cloned(): number;
  /** None is connected where many were. */
  fleetGone(): boolean;
  lostSeconds(): [dependency: string, seconds: number][];
  /** How far clocks are ahead of the shared one, milliseconds; `null` while that is not known. */
  clocksAheadMs(): [clock: string, aheadMs: number | null][];
  /** Batches of receipts not applied yet; `null` when that is not known. */
  receiptsBacklog(): Promise<number | null>;
  storeConflicts(): number;
  /** Until the internal authority that signs ends; `null` when that is not known. */
  authorityDaysLeft(): Promise<number | null>;
}

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
    help:
      'Writings of the whole directory, by outcome: written, or lost because Redis was emptied ' +
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
    help: 'Devices connected, by the word of the gateways.',
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
  new Gauge({
    name: 'pushpoint_admin_authority_days_left',
    help: 'Days until the internal authority that signs certificates of gateways ends.',
    registers,
    async collect() {
      this.set((await gauges.authorityDaysLeft()) ?? Number.NaN);
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
