/** Metrics of the bus that gateways and administration servers share. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Bus, BusPart } from './bus.ts';

const PART_NAMES: readonly BusPart['name'][] = ['commands', 'subscription', 'receipts'];

/** `labels` go on each metric, for programs whose metrics another program adds up. */
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
  gauge('available', 'Whether Redis accepts writes and delivers hints.', () =>
    bus.status().available ? 1 : 0,
  );
  new Gauge({
    ...common,
    name: 'pushpoint_bus_part_available',
    help: 'The same for each part: commands, subscription, receipts. With several servers, the worst counts.',
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
  gauge('probe_round_trip_seconds', 'Time from publishing a probe to receiving it, last measured.', () => {
    const { probeRoundTripMs } = bus.counts();
    return probeRoundTripMs === null ? null : probeRoundTripMs / 1_000;
  });
  gauge('warnings', 'Settings of Redis that should be changed.', () => bus.status().warnings?.length ?? 0);
  counter('reconnects_total', 'Connections to Redis that were reopened.', () => bus.counts().reconnects);
  counter(
    'subscriptions_replaced_total',
    'Subscriptions that looked alive, delivered nothing, and were replaced.',
    () => bus.counts().subscriptionsReplaced,
  );
  new Counter({
    ...common,
    name: 'pushpoint_bus_refused_total',
    help: 'What was refused in Redis because no program of the installation wrote it, by kind.',
    labelNames: [...common.labelNames, 'kind'],
    collect() {
      this.reset();
      for (const [kind, count] of Object.entries(bus.counts().refused)) this.inc({ ...labels, kind }, count);
    },
  });
  counter(
    'history_changes_total',
    'Number of times a Redis server was restarted or replaced.',
    () => bus.counts().historyChanges,
  );
}
