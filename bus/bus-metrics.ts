/** What gateways and administration servers alike tell of their bus, by name. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Bus, BusPart } from './bus.ts';

const PART_NAMES: readonly BusPart['name'][] = ['commands', 'subscription', 'receipts'];

/** `labels` stand at each of them, for programs whose metrics are added up by another. */
export function registerBusMetrics(
  registry: Registry,
  bus: Pick<Bus, 'status' | 'counts'>,
  labels: Readonly<Record<string, string>> = {},
): void {
  const common = { labelNames: Object.keys(labels), registers: [registry] };
  const gauge = (name: string, help: string, read: () => number | null) =>
    new Gauge({
      ...common,
      name: `pushpoint_bus_${name}`,
      help,
      collect() {
        const value = read();
        this.reset();
        if (value !== null) this.set(labels, value);
      },
    });
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      ...common,
      name: `pushpoint_bus_${name}`,
      help,
      collect() {
        this.reset();
        this.inc(labels, read());
      },
    });
  gauge('available', 'Whether Redis takes what it is given and brings hints.', () =>
    bus.status().available ? 1 : 0,
  );
  new Gauge({
    ...common,
    name: 'pushpoint_bus_part_available',
    help: 'The same of each part: commands, subscription, receipts; of several servers, of the worst.',
    labelNames: [...common.labelNames, 'part'],
    collect() {
      const { parts = [] } = bus.status();
      this.reset();
      for (const part of PART_NAMES) {
        const those = parts.filter(({ name }) => name === part);
        if (those.length > 0) this.set({ ...labels, part }, those.every(({ ok }) => ok) ? 1 : 0);
      }
    },
  });
  gauge('probe_round_trip_seconds', 'From publishing to oneself to receiving it, the last time.', () => {
    const { probeRoundTripMs } = bus.counts();
    return probeRoundTripMs === null ? null : probeRoundTripMs / 1_000;
  });
  gauge('warnings', 'Settings of Redis that should be changed.', () => bus.status().warnings?.length ?? 0);
  counter('reconnects_total', 'Connections to Redis made anew.', () => bus.counts().reconnects);
  counter(
    'subscriptions_replaced_total',
    'Subscriptions that looked alive and brought nothing, and were replaced.',
    () => bus.counts().subscriptionsReplaced,
  );
  counter(
    'history_changes_total',
    'Times that a Redis server was restarted or replaced by another.',
    () => bus.counts().historyChanges,
  );
}
