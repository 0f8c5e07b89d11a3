/** Messages between supervisor and worker processes, as JSON over the channel between parent and child. */
import type { MetricObjectWithValues, MetricValue } from 'prom-client';
import type { WorkerState } from '../worker-status.ts';

export type MetricsJson = MetricObjectWithValues<MetricValue<string>>[];

export type FromWorker =
  /** It serves as its settings say. */
  | { t: 'started' }
  /** It cannot start, and ends. */
  | { t: 'failed'; name: string; message: string }
  /** At every change, and at least once a second. */
  | { t: 'state'; state: WorkerState }
  /** Asks whether this port may be listened on. */
  | { t: 'port'; id: number; port: number }
  | { t: 'metrics'; id: number; metrics: MetricsJson };

export type ToWorker =
  /** Answers `port`; with a `problem` it may not be listened on. */
  | { t: 'port'; id: number; problem?: string }
  | { t: 'siblings-full'; full: boolean }
  | { t: 'metrics'; id: number }
  /** Read the TLS files again. */
  | { t: 'reload-tls' }
  | { t: 'stop'; deadlineMs: number };

/** How often a worker reports even without changes. */
export const STATE_PERIOD_MS = 1_000;
