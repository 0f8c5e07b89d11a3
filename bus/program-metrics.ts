/**
 * Metrics of every program: its version, and process figures under the names that Prometheus clients use.
 * They are collected on each scrape; nothing is sampled in between, so an idle gateway stays idle.
 */
import { readFile } from 'node:fs/promises';
import {
  constants,
  type EventLoopUtilization,
  type PerformanceEntry,
  PerformanceObserver,
  performance,
} from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const GC_KINDS: Record<number, string> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

/** `labels` go on every figure, such as the worker's name. */
export function registerProgramMetrics(
  registry: Registry,
  version: string,
  labels: Readonly<Record<string, string>> = {},
): void {
  const labelNames = Object.keys(labels);
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number | Promise<number>) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        const value = await read();
        if (Number.isFinite(value)) this.set(labels, value);
      },
    });

  new Gauge({
    name: 'pushpoint_build_info',
    help: 'Always 1; the labels name the versions of Pushpoint and Node.js.',
    labelNames: ['version', 'node', ...labelNames],
    registers,
  }).set({ ...labels, version, node: process.version }, 1);
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time of the process, user and system.',
    labelNames,
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc(labels, (user + system) / 1e6);
    },
  });
  const startedAt = Math.round(Date.now() - process.uptime() * 1_000) / 1_000;
  gauge(
    'process_start_time_seconds',
    'When the process started, seconds since the Unix epoch.',
    () => startedAt,
  );
  gauge('process_resident_memory_bytes', 'Resident memory of the process.', residentBytes);
  gauge('process_max_fds', 'Most file descriptors it may open.', maxDescriptors);
  gauge('nodejs_heap_size_used_bytes', 'Heap of V8 in use.', () => getHeapStatistics().used_heap_size);
  gauge(
    'nodejs_heap_size_limit_bytes',
    'Largest heap V8 may have.',
    () => getHeapStatistics().heap_size_limit,
  );
  gauge(
    'nodejs_external_memory_bytes',
    'Memory outside of the heap.',
    () => getHeapStatistics().external_memory,
  );
  gauge(
    'nodejs_eventloop_utilization_ratio',
    'Share of the time since the last collection in which the event loop had work.',
    utilizationSinceLast(),
  );
  observeGc(
    new Histogram({
      name: 'nodejs_gc_duration_seconds',
      help: 'Pauses for collecting garbage, by kind.',
      labelNames: ['kind', ...labelNames],
      buckets: [0.001, 0.01, 0.1, 1],
      registers,
    }),
    labels,
  );
}

/** Reading it takes a descriptor: with none free, the metric is absent. */
function residentBytes(): number {
  try {
    return process.memoryUsage.rss();
  } catch {
    return Number.NaN;
  }
}

async function maxDescriptors(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.NaN);
}

function utilizationSinceLast(): () => number {
  let last: EventLoopUtilization = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}

function observeGc(histogram: Histogram, labels: Readonly<Record<string, string>>): void {
  new PerformanceObserver((list) => {
    // The type declarations lag behind.
    for (const entry of list.getEntries() as (PerformanceEntry & { detail?: { kind?: number } })[]) {
      const kind = GC_KINDS[entry.detail?.kind ?? -1] ?? 'other';
      histogram.observe({ ...labels, kind }, entry.duration / 1_000);
    }
  }).observe({ entryTypes: ['gc'] });
}
