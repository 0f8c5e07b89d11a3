/**
 * Every metric of a gateway worker, by name. Counters are plain numbers until they are collected, because
 * counting happens once per frame.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const PREFIX = 'pushpoint_gateway_';

/** A counter with one label, whose values are few and fixed (never text from a device). */
export class LabeledCount {
  readonly values = new Map<string, number>();

  add(label: string, amount = 1): void {
    this.values.set(label, (this.values.get(label) ?? 0) + amount);
  }

  get(label: string): number {
    return this.values.get(label) ?? 0;
  }
}

/** Values of the worker that are read when metrics are collected. */
export interface Gauges {
  connections(): number;
  /** Unauthenticated sockets, by kind, and how many there may be. */
  unauthenticatedSockets(): Readonly<Record<string, number>>;
  unauthenticatedLimit(): number;
  sessions(): number;
  spooledReceipts(): number;
  /** Share of the spool's bound that is taken. */
  spoolFill(): number;
  /** The clock that all programs share. */
  now(): number;
  clockAheadMs(): number | null;
  /** Time of the oldest receipt in the spool, milliseconds since the Unix epoch. */
  spoolOldestAt(): number | null;
  bufferedBytes(): number;
  /** Connections it takes at most. */
  limit(): number;
  /** Connections that must leave. */
  leaving(): number;
  /** No-ops to the canary that the ledger confirmed. */
  canaryConfirmed(): number;
  ready(): boolean;
  /** Seconds for which each dependency has been missing. */
  lostSeconds(): [dependency: string, seconds: number][];
  /** Stalled loops. */
  stuck(): number;
  tunnels(): number;
  tunnelLegs(): number;
  tunnelBufferedBytes(): number;
  tunnelBytes(): { up: number; down: number };
}

export class Metrics {
  opened = 0;
  admitted = 0;
  reclaimed = 0;
  framesIn = 0;
  framesOut = 0;
  bytesOut = 0;
  heartbeats = 0;
  deliveries = 0;
  undelivered = 0;
  probes = 0;
  outboxesLost = 0;
  leasesLost = 0;
  receiptsAppended = 0;
  receiptsRetried = 0;
  progressDropped = 0;
  measuresDropped = 0;
  resultsHandedBack = 0;
  membershipsRefused = 0;
  faults = 0;
  readonly closed = new LabeledCount();
  readonly upgradesRefused = new LabeledCount();
  readonly unauthenticatedClosed = new LabeledCount();
  readonly receiptsDropped = new LabeledCount();
  readonly tunnelEvents = new LabeledCount();
  readonly tunnelsRefused = new LabeledCount();
  readonly tunnelsEnded = new LabeledCount();

  #observeRoundTrip: (seconds: number) => void = () => {};

  roundTrip(ms: number): void {
    this.#observeRoundTrip(ms / 1_000);
  }

  register(registry: Registry, worker: string, gauges: Gauges): void {
    const registers = [registry];
    const counter = (name: string, help: string, read: () => number) =>
      new Counter({
        name: `${PREFIX}${name}`,
        help,
        labelNames: ['worker'],
        registers,
        collect() {
          this.reset();
          this.inc({ worker }, read());
        },
      });
    const labeled = (name: string, help: string, label: string, count: LabeledCount) =>
      new Counter({
        name: `${PREFIX}${name}`,
        help,
        labelNames: ['worker', label],
        registers,
        collect() {
          this.reset();
          for (const [value, amount] of count.values) this.inc({ worker, [label]: value }, amount);
        },
      });
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name: `${PREFIX}${name}`,
        help,
        labelNames: ['worker'],
        registers,
        collect() {
          this.set({ worker }, read());
        },
      });

    gauge('connections', 'Open WebSockets.', gauges.connections);
    gauge('connections_limit', 'Most WebSockets it accepts.', gauges.limit);
    gauge('connections_leaving', 'WebSockets that must leave (drain, off, port, stop).', gauges.leaving);
    new Gauge({
      name: `${PREFIX}unauthenticated_sockets`,
      help: 'Unauthenticated sockets, by kind.',
      labelNames: ['worker', 'kind'],
      registers,
      collect() {
        for (const [kind, count] of Object.entries(gauges.unauthenticatedSockets()))
          this.set({ worker, kind }, count);
      },
    });
    gauge('unauthenticated_sockets_limit', 'Most unauthenticated sockets.', gauges.unauthenticatedLimit);
    gauge('sessions', 'Devices connected.', gauges.sessions);
    gauge('receipts_spooled', 'Receipts waiting for the bus.', gauges.spooledReceipts);
    gauge('receipts_spool_fill', 'Used share of the space for waiting receipts.', gauges.spoolFill);
    gauge('receipts_waiting_seconds', 'Age of the oldest waiting receipt.', () => {
      const at = gauges.spoolOldestAt();
      return at === null ? 0 : Math.max(0, gauges.now() - at) / 1_000;
    });
    gauge('buffered_bytes', 'Bytes buffered for slow readers.', gauges.bufferedBytes);
    gauge('tunnels', 'Usable tunnels.', gauges.tunnels);
    gauge('tunnel_legs', 'Open WebSockets of tunnels.', gauges.tunnelLegs);
    gauge('tunnel_buffered_bytes', 'Bytes buffered for tunnel legs.', gauges.tunnelBufferedBytes);
    const roundTrips = new Histogram({
      name: `${PREFIX}round_trip_seconds`,
      help: 'Round trips of WebSocket pings to a sample of the devices.',
      labelNames: ['worker'],
      buckets: [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
      registers,
    });
    this.#observeRoundTrip = (seconds) => roundTrips.observe({ worker }, seconds);
    gauge('ready', 'Whether new devices can be admitted.', () => (gauges.ready() ? 1 : 0));
    gauge('clock_ahead_seconds', 'How far its clock is ahead of the one that all programs share.', () => {
      return (gauges.clockAheadMs() ?? 0) / 1_000;
    });
    gauge('loops_stuck', 'Stalled loops of the process.', gauges.stuck);
    new Gauge({
      name: `${PREFIX}dependency_lost_seconds`,
      help: 'How long a dependency has been missing.',
      labelNames: ['worker', 'dependency'],
      registers,
      collect() {
        for (const [dependency, seconds] of gauges.lostSeconds()) this.set({ worker, dependency }, seconds);
      },
    });
    counter(
      'canary_round_trips_total',
      'No-ops to the canary that the ledger confirmed.',
      gauges.canaryConfirmed,
    );
    counter('probes_total', 'Probes of devices answered.', () => this.probes);
    counter('connections_opened_total', 'WebSockets opened.', () => this.opened);
    counter('sessions_admitted_total', 'Devices welcomed.', () => this.admitted);
    counter('sessions_reclaimed_total', 'Sessions claimed again after a lost lease.', () => this.reclaimed);
    counter('frames_received_total', 'Frames from devices.', () => this.framesIn);
    counter('frames_sent_total', 'Frames to devices.', () => this.framesOut);
    counter('bytes_sent_total', 'Payload bytes to devices.', () => this.bytesOut);
    counter('heartbeats_total', 'Heartbeats answered.', () => this.heartbeats);
    counter('deliveries_total', 'Frames of outbox entries handed to devices.', () => this.deliveries);
    counter('undelivered_total', 'Frames of outbox entries whose device was gone.', () => this.undelivered);
    counter('outboxes_lost_total', 'Times the outbox was found lost.', () => this.outboxesLost);
    counter('leases_lost_total', 'Times the lease was found lost.', () => this.leasesLost);
    counter('receipts_appended_total', 'Receipts handed to the bus.', () => this.receiptsAppended);
    counter('receipt_append_retries_total', 'Appends that failed.', () => this.receiptsRetried);
    counter(
      'measures_limited_total',
      "Reports of gateways' distances dropped by the rate limit.",
      () => this.measuresDropped,
    );
    counter(
      'progress_limited_total',
      'Progress reports dropped beyond one a second.',
      () => this.progressDropped,
    );
    counter(
      'results_handed_back_total',
      'Results refused for lack of space, which devices keep.',
      () => this.resultsHandedBack,
    );
    counter(
      'memberships_refused_total',
      'Admissions refused because the membership in the directory is not signed.',
      () => this.membershipsRefused,
    );
    counter('faults_total', 'Exceptions in handlers of the gateway.', () => this.faults);
    labeled('connections_closed_total', 'WebSockets closed, by close code name.', 'code', this.closed);
    labeled('upgrades_refused_total', 'Upgrades refused, by reason.', 'reason', this.upgradesRefused);
    labeled(
      'unauthenticated_sockets_closed_total',
      'Unauthenticated sockets that the gateway closed, by reason.',
      'reason',
      this.unauthenticatedClosed,
    );
    labeled('receipts_dropped_total', 'Receipts dropped at the bound.', 'kind', this.receiptsDropped);
    labeled('tunnel_events_total', 'Events of tunnels.', 'event', this.tunnelEvents);
    labeled('tunnel_legs_refused_total', 'Tunnel legs refused, by reason.', 'reason', this.tunnelsRefused);
    labeled('tunnels_ended_total', 'Tunnels that ended, by reason.', 'reason', this.tunnelsEnded);
    new Counter({
      name: `${PREFIX}tunnel_bytes_total`,
      help: 'Bytes that passed through tunnels, up from devices and down to them.',
      labelNames: ['worker', 'way'],
      registers,
      collect() {
        this.reset();
        for (const [way, bytes] of Object.entries(gauges.tunnelBytes())) this.inc({ worker, way }, bytes);
      },
    });
  }
}
