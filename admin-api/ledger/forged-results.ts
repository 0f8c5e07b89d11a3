/**
 * Refuses and counts results that their device did not make, and shows them in health, metrics, events and
 * the log with the worker that brought them.
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
  device: string;
  command: string;
  worker: string;
}

export interface ForgedResultsParts {
  store: Store;
  leases: LeaseList;
  hub: Pick<EventHub, 'notify'>;
  metrics: AdminMetrics;
  log: Logger;
  now: () => number;
}

export class ForgedResults {
  readonly #parts: ForgedResultsParts;
  readonly #since: string;
  #count = 0;
  #last: (Forged & { at: number }) | null = null;
  /** By worker: how many are not shown yet, and when some were last shown, by the monotonic clock. */
  readonly #shown = new Map<string, { waiting: number; at: number }>();

  constructor(parts: ForgedResultsParts) {
    this.#parts = parts;
    this.#since = new Date(parts.now()).toISOString();
  }

  async refuse(forged: readonly Forged[]): Promise<void> {
    if (forged.length === 0) return;
    const { leases, metrics, now } = this.#parts;
    const known = new Set(leases.list().map(({ identity }) => identity.worker));
    const newest = new Map<string, Forged & { count: number }>();
    for (const { device, command, worker: said } of forged) {
      // A forger may name any worker. Only names of live workers become labels, so the metric stays small.
      const worker = known.has(said) ? said : 'unknown';
      metrics.resultsRefused.inc({ worker });
      this.#count++;
      this.#last = { device, command, worker, at: now() };
      newest.set(worker, { device, command, worker, count: (newest.get(worker)?.count ?? 0) + 1 });
    }
    await this.#show([...newest.values()]);
  }

  report(): DependencyReport {
    const last = this.#last;
    const told = last !== null && this.#parts.now() - last.at < TOLD_MS;
    const warning =
      `${this.#count} results were refused, which their devices did not make; the last for device ` +
      `${last?.device}, brought by gateway worker ${last?.worker}`;
    return { ok: true, since: this.#since, ...(told && { warnings: [warning] }) };
  }

  async #show(rows: readonly (Forged & { count: number })[]): Promise<void> {
    const { store, hub, log, now } = this.#parts;
    const news = rows.flatMap(({ count, ...row }) => {
      const { waiting, at } = this.#shown.get(row.worker) ?? { waiting: 0, at: Number.NEGATIVE_INFINITY };
      const due = performance.now() - at >= SHOWN_EVERY_MS;
      this.#shown.set(
        row.worker,
        due ? { waiting: 0, at: performance.now() } : { waiting: waiting + count, at },
      );
      return due ? [{ ...row, count: waiting + count }] : [];
    });
    if (news.length === 0) return;
    for (const data of news) {
      const { device: deviceId, command, worker, count } = data;
      log.warn({ deviceId, command, worker, count }, 'results that their devices did not make are refused');
    }
    await store.events.append(news.map((data) => ({ at: now(), type: 'result.refused', data })));
    hub.notify();
  }
}
