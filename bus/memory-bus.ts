/** The bus of a single process. It needs no installation, and nothing in it outlives the process. */
import type { Logger } from 'pino';
import { type Bus, type BusClock, type BusCounts, type BusStatus, BusUnavailable } from './bus.ts';
import { MemoryDirectory } from './memory/directory.ts';
import { MemoryJoins } from './memory/joins.ts';
import { MemoryOwner } from './memory/owner.ts';
import { MemoryPresence } from './memory/presence.ts';
import { MemoryReceipts } from './memory/receipts.ts';
import { MemoryWorkers } from './memory/workers.ts';

export class MemoryBus implements Bus {
  readonly owner = new MemoryOwner();
  readonly leases;
  readonly outboxes;
  readonly receipts: MemoryReceipts;
  readonly presence: MemoryPresence;
  readonly directory: MemoryDirectory;
  readonly joins: MemoryJoins;
  readonly clock: BusClock;
  readonly #workers: MemoryWorkers;
  #state: 'new' | 'running' | 'stopped' = 'new';
  #since = Date.now();

  /** `now`: the clock of the process; `Date.now` when absent. */
  constructor(options: { log?: Logger; now?: () => number; receiptsMaxBytes?: number } = {}) {
    const now = options.now ?? Date.now;
    this.clock = { now, aheadMs: () => 0 };
    const assertRunning = () => {
      if (this.#state !== 'running') throw new BusUnavailable(this.#reason());
    };
    this.#workers = new MemoryWorkers(assertRunning, now);
    this.leases = this.#workers.leases;
    this.outboxes = this.#workers.outboxes;
    this.receipts = new MemoryReceipts(assertRunning, options.log, options.receiptsMaxBytes);
    this.presence = new MemoryPresence(assertRunning, (incarnation) => this.#workers.isAlive(incarnation));
    this.directory = new MemoryDirectory(assertRunning);
    this.joins = new MemoryJoins(assertRunning, now);
  }

  async start(): Promise<void> {
    if (this.#state === 'stopped') throw new BusUnavailable(this.#reason());
    if (this.#state === 'running') return;
    this.#become('running');
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    // Consumers end first: their last `apply` may still use the bus.
    await this.receipts.stop();
    this.#become('stopped');
    this.#workers.stop();
    this.presence.stop();
    this.directory.stop();
  }

  status(): BusStatus {
    return this.#state === 'running'
      ? { available: true, since: this.#since }
      : { available: false, since: this.#since, reason: this.#reason() };
  }

  counts(): BusCounts {
    return {
      reconnects: 0,
      subscriptionsReplaced: 0,
      historyChanges: 0,
      refused: {},
      probeRoundTripMs: null,
    };
  }

  #become(state: 'running' | 'stopped'): void {
    this.#state = state;
    this.#since = Date.now();
  }

  #reason(): string {
    return this.#state === 'stopped' ? 'the bus was stopped' : 'the bus was not started';
  }
}
