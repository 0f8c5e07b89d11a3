import { Counter, type Registry } from 'prom-client';

/** A log that may drop lines. */
export interface CountingLog {
  /** Lines dropped since the program started; absent where nobody counts. */
  droppedLines?: () => number;
}

/** `labels` as in `registerBusMetrics`. */
export function registerLogMetrics(
  registry: Registry,
  log: object & CountingLog,
  labels: Readonly<Record<string, string>> = {},
): void {
  new Counter({
    name: 'pushpoint_log_lines_dropped_total',
    help: 'Lines that the log dropped: its disk is full, or nobody reads it.',
    labelNames: Object.keys(labels),
    registers: [registry],
    collect() {
      this.reset();
      this.inc(labels, log.droppedLines?.() ?? 0);
    },
  });
}
