/**
 * Refuses and counts results and statuses that their device did not make, and shows them in health, metrics,
 * events and the log with the worker that brought them.
 */
import type { Logger } from 'pino';
import type { DependencyReport } from '../../health/health.ts';
import type { EventHub } from '../event-hub.ts';
import type { LeaseList } from '../live-workers.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { Store } from '../store/store.ts';

/** Health reports a forged result for this long. */
const TOLD_MS = 60 * 60_000;
/** A flood of forged results must fill neither the log nor the events. */
const SHOWN_EVERY_MS = 60_000;

interface Forged {
  kind: 'result' | 'status';
  device: string;
  /** Of a result. */
  command?: string;
  worker: string;
}

export interface ForgedReportsParts {
  store: Store;
  leases: LeaseList;
  hub: Pick<EventHub, 'notify'>;
  metrics: AdminMetrics;
  log: Logger;
  now: () => number;
}

export class ForgedReports {
  readonly #parts: ForgedReportsParts;
  readonly #since: string;
  #count = 0;
  #last: (Forged & { at: number }) | null = null;
  /** By kind and worker: how many are not shown yet, and when some were last, by the monotonic clock. */
  readonly #shown = new Map<string, { waiting: number; at: number }>();

  constructor(parts: ForgedReportsParts) {
    this.#parts = parts;
    this.#since = new Date(parts.now()).toISOString();
  }

  async refuse(forged: readonly Forged[]): Promise<void> {
    if (forged.length === 0) return;
    const { leases, metrics, now } = this.#parts;
    const known = new Set(leases.list().map(({ identity }) => identity.worker));
    const newest = new Map<string, Forged & { count: number }>();
    for (const { kind, device, command, worker: said } of forged) {
      // A forger may name any worker. Only names of live workers become labels, so the metric stays small.
      const worker = known.has(said) ? said : 'unknown';
      const counter = kind === 'result' ? metrics.resultsRefused : metrics.statusesRefused;
      counter.inc({ worker });
      this.#count++;
      const last = { kind, device, ...(command !== undefined && { command }), worker };
      this.#last = { ...last, at: now() };
      const key = keyOf(last);
      newest.set(key, { ...last, count: (newest.get(key)?.count ?? 0) + 1 });
    }
    await this.#show([...newest.values()]);
  }

  report(): DependencyReport {
    const last = this.#last;
    const told = last !== null && this.#parts.now() - last.at < TOLD_MS;
    const warning =
      `${this.#count} results or statuses were refused, which their devices did not make; the last for ` +
      `device ${last?.device}, brought by gateway worker ${last?.worker}`;
    return { ok: true, since: this.#since, ...(told && { warnings: [warning] }) };
  }

  async #show(rows: readonly (Forged & { count: number })[]): Promise<void> {
    const { store, hub, log, now } = this.#parts;
    const news = rows.flatMap(({ count, ...row }) => {
      const key = keyOf(row);
      const { waiting, at } = this.#shown.get(key) ?? { waiting: 0, at: Number.NEGATIVE_INFINITY };
      const due = performance.now() - at >= SHOWN_EVERY_MS;
      this.#shown.set(key, due ? { waiting: 0, at: performance.now() } : { waiting: waiting + count, at });
      return due ? [{ ...row, count: waiting + count }] : [];
    });
    if (news.length === 0) return;
    for (const { kind, device: deviceId, command, worker, count } of news) {
      const about = { kind, deviceId, command, worker, count };
      log.warn(about, 'reports that their devices did not make are refused');
    }
    const events = news.map(({ kind, ...data }) => ({ at: now(), type: `${kind}.refused`, data }) as const);
    await store.events.append(events);
    hub.notify();
  }
}

function keyOf({ kind, worker }: Forged): string {
  return `${kind} ${worker}`;
}
