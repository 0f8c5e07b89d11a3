import type { Logger } from 'pino';
import { type Bus, BusUnavailable } from '../../bus/bus.ts';
import { OneAtATime } from '../../bus/one-at-a-time.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import type { Expander } from '../dispatch/expander.ts';
import type { EventHub } from '../event-hub.ts';
import type { AdminMetrics } from '../metrics.ts';
import { type Outcomes, recordRequeued } from '../outcomes.ts';
import type { ExecutionKey, Store } from '../store/store.ts';

const CHUNK = 2000;
const HOUSEKEEPING_EVERY_MS = 60_000;
/** How often connected devices with queued executions are woken, because a crash may lose wakes. */
const MISSED_WAKES_EVERY_MS = 10_000;

export interface OverdueExecutionsOptions {
  intervalMs: number;
  /** An execution that is sent and not acknowledged for this long is sent again. */
  resendAfterMs: number;
  /** How long finished commands and events stay recorded. */
  keepCommandsMs: number;
  keepEventsMs: number;
  keepEvents: number;
}

/** Each sweep checks this many entries of presence: those of killed workers are gone within minutes. */
const PRESENCE_LOOKED_AT = 1_000;

export interface OverdueExecutionsParts {
  store: Store;
  bus: Bus;
  dispatcher: Dispatcher;
  expander: Expander;
  outcomes: Outcomes;
  hub: EventHub;
  metrics: AdminMetrics;
  log: Logger;
  now: () => number;
}

/**
 * Picks up what a crash left undone: unanswered deliveries, executions and sessions of lost workers, commands
 * that are only partly expanded. Each step is safe to repeat, and to run on several servers at once.
 */
export class OverdueExecutions {
  readonly #parts: OverdueExecutionsParts;
  readonly #options: OverdueExecutionsOptions;
  #timer: NodeJS.Timeout | undefined;
  readonly #rounds: OneAtATime;
  #housekeptAt = 0;
  #wokeAt = 0;
  #recordOfIncarnations: 'check' | 'checked' = 'check';
  #stopping = false;

  constructor(parts: OverdueExecutionsParts, options: OverdueExecutionsOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#rounds = new OneAtATime(
      () => this.#sweep(),
      (error) => parts.log.warn({ err: error }, 'a sweep failed; trying again'),
    );
  }

  /** Completed sweeps. */
  get rounds(): number {
    return this.#rounds.rounds;
  }

  start(): void {
    this.#timer = setInterval(() => {
      if (!this.#rounds.running) this.lookSoon();
    }, this.#options.intervalMs);
    this.lookSoon();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#rounds.settled();
  }

  /** A worker's lease ended: starts a sweep, which queues that worker's executions again. */
  workersGone(): void {
    this.#recordOfIncarnations = 'check';
    this.lookSoon();
  }

  /** Starts a sweep; if one is running, another follows, because that one may have looked too early. */
  lookSoon(): void {
    if (!this.#stopping) void this.#rounds.ask();
  }

  async #sweep(): Promise<void> {
    if (this.#stopping) return;
    const now = this.#parts.now();
    await this.#sweepDeadIncarnations(now);
    await this.#resend(now);
    this.#parts.expander.expand(await this.#parts.store.commands.unexpanded(100));
    if (Math.abs(now - this.#wokeAt) >= MISSED_WAKES_EVERY_MS) {
      this.#wokeAt = now;
      this.#parts.dispatcher.wake(await this.#parts.store.executions.connectedWithQueued(CHUNK));
    }
    await this.#parts.bus.presence.sweep(PRESENCE_LOOKED_AT);
    if (Math.abs(now - this.#housekeptAt) >= HOUSEKEEPING_EVERY_MS) {
      this.#housekeptAt = now;
      this.#recordOfIncarnations = 'check';
      await this.#housekeep(now);
    }
  }

  /**
   * Reads recorded incarnations first and leases afterwards: a recorded incarnation that then has no lease
   * never gets one again.
   */
  async #sweepDeadIncarnations(now: number): Promise<void> {
    if (this.#recordOfIncarnations === 'checked') return;
    const { store, bus, log } = this.#parts;
    // Set before reading: a request that comes during the check causes another one.
    this.#recordOfIncarnations = 'checked';
    try {
      const recorded = new Set([
        ...(await store.devices.incarnations()),
        ...(await store.executions.incarnations()),
      ]);
      const leases = await bus.leases.list();
      for (const { incarnation } of leases) recorded.delete(incarnation);
      for (const incarnation of recorded) {
        const executions = await this.#requeueAll((tx) =>
          tx.executions.requeueIncarnation(incarnation, CHUNK),
        );
        const devices = await this.#disconnectAll(incarnation, now);
        log.warn({ incarnation, executions, devices }, 'a worker is gone; its executions are queued again');
      }
    } catch (error) {
      this.#recordOfIncarnations = 'check';
      throw error;
    }
  }

  async #disconnectAll(incarnation: string, now: number): Promise<number> {
    let count = 0;
    for (;;) {
      const ids = await this.#parts.store.transaction(async (tx) => {
        const disconnected = await tx.devices.disconnectIncarnation(incarnation, now, CHUNK);
        if (disconnected.length > 0) {
          await tx.events.append([{ at: now, type: 'devices', data: { connected: [], disconnected } }]);
        }
        return disconnected;
      });
      count += ids.length;
      if (ids.length > 0) this.#parts.hub.notify();
      if (ids.length < CHUNK) return count;
    }
  }

  /**
   * Sends again what was unanswered at the time up to which answers are applied. While answers wait to be
   * applied, sending answered commands again would only make more answers. Without a bus nothing could be
   * sent.
   */
  async #resend(now: number): Promise<void> {
    const behindMs = await this.#parts.bus.receipts.oldestAgeMs().catch((error) => {
      if (!(error instanceof BusUnavailable)) throw error;
      return null;
    });
    if (behindMs === null) return;
    const before = now - behindMs - this.#options.resendAfterMs;
    await this.#requeueAll((tx) => tx.executions.requeueSentBefore(before, CHUNK), 'unacknowledged');
  }

  async #requeueAll(requeue: (tx: Store) => Promise<ExecutionKey[]>, why = 'worker-gone'): Promise<number> {
    let count = 0;
    for (;;) {
      const at = this.#parts.now();
      const { rows, superseded } = await this.#parts.store.transaction(async (tx) => {
        const rows = await requeue(tx);
        const superseded = await recordRequeued(tx, rows, at);
        return { rows, superseded };
      });
      this.#parts.metrics.requeued.inc({ why }, rows.length);
      this.#parts.dispatcher.wake(rows.map((row) => row.device));
      if (superseded.length > 0) {
        await this.#parts.outcomes.commandsMayBeDone(superseded.map((row) => row.command));
      }
      count += rows.length;
      if (rows.length < CHUNK) return count;
    }
  }

  async #housekeep(now: number): Promise<void> {
    const { store, outcomes } = this.#parts;
    await outcomes.commandsMayBeDone(await store.commands.openIds(CHUNK));
    await store.commands.prune(now - this.#options.keepCommandsMs, CHUNK);
    await store.events.prune(now - this.#options.keepEventsMs, this.#options.keepEvents);
  }
}
