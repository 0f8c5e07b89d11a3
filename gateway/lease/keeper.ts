/**
 * Keeps this worker's lease. A lease that expired is never revived: the worker acquires a new one, under a
 * new number, and whatever it holds must be claimed anew under that. So a worker that was stopped for a
 * minute, or whose Redis came back empty, goes one and the same way.
 */
import type { Logger } from 'pino';
import type { Leases, WorkerIdentity, WorkerLoad } from '../../bus/bus.ts';
import type { Dependency } from '../../health/health.ts';
import type { HeldLease } from '../held-lease.ts';

/** Incarnations remembered: as many as can be lost while answers to claims are outstanding. */
const REMEMBERED = 32;

export interface LeaseEvents {
  /** A lease was acquired; for any but the first, sessions have to be claimed anew. */
  acquired(lease: HeldLease): void;
  lost(lease: HeldLease): void;
}

export class LeaseKeeper {
  readonly #leases: Leases;
  readonly #identity: () => WorkerIdentity;
  readonly #load: () => WorkerLoad;
  readonly #ttlMs: number;
  readonly #health: Dependency;
  readonly #events: LeaseEvents;
  readonly #log: Logger;
  #lease: HeldLease | null = null;
  #acquired = 0;
  #rounds = 0;
  /** The last incarnations of this process, the newest last. */
  readonly #incarnations: string[] = [];
  /** Monotonic time at which the last successful extension was begun. */
  #extendedAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #beating: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(
    leases: Leases,
    identity: () => WorkerIdentity,
    load: () => WorkerLoad,
    ttlMs: number,
    health: Dependency,
    events: LeaseEvents,
    log: Logger,
  ) {
    this.#leases = leases;
    this.#identity = identity;
    this.#load = load;
    this.#ttlMs = ttlMs;
    this.#health = health;
    this.#events = events;
    this.#log = log;
  }

  /** The lease this worker last had, whether or not it still counts. */
  get last(): HeldLease | null {
    return this.#lease;
  }

  /** Attempts to extend or acquire that came to an end. */
  get rounds(): number {
    return this.#rounds;
  }

  /** The lease, if it cannot have expired by this process's own clock. Nobody may be admitted without. */
  held(): HeldLease | null {
    return this.#lease && performance.now() - this.#extendedAt < this.#ttlMs ? this.#lease : null;
  }

  /** Whether this incarnation is, or was lately, this very process. */
  wasOurs(incarnation: string): boolean {
    return this.#incarnations.includes(incarnation);
  }

  /** Resolves after the first attempt, successful or not; attempts go on. */
  async start(): Promise<void> {
    await this.beat();
  }

  /** Extends or acquires now, and then at a third of the lease's time. */
  beat(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#beating = this.#beating.then(async () => {
      if (this.#stopped) return;
      const done = await this.#extendOrAcquire();
      this.#rounds++;
      const thirdMs = this.#ttlMs / 3;
      if (!this.#stopped) {
        if (this.#timer) clearTimeout(this.#timer);
        this.#timer = setTimeout(() => void this.beat(), done ? thirdMs : Math.min(thirdMs, 1_000));
      }
    });
    return this.#beating;
  }

  /** Ends the lease. Idempotent. `allHeard`: nothing is left to be appended. */
  async stop(allHeard: boolean): Promise<void> {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    await this.#beating;
    const lease = this.#lease;
    this.#lease = null;
    if (!lease) return;
    try {
      await this.#leases.release(lease.incarnation, { allHeard });
    } catch (error) {
      this.#log.warn({ err: error }, 'lease not released: it will expire');
    }
  }

  async #extendOrAcquire(): Promise<boolean> {
    const begunAt = performance.now();
    try {
      if (this.#lease) {
        if ((await this.#leases.extend(this.#lease.incarnation, this.#load(), this.#ttlMs)) === 'held') {
          this.#extendedAt = begunAt;
          this.#health.good();
          return true;
        }
        const lost = this.#lease;
        this.#lease = null;
        this.#health.bad('the lease expired');
        this.#log.warn({ incarnation: lost.incarnation }, 'lease lost');
        this.#events.lost(lost);
      }
      const incarnation = await this.#leases.acquire(this.#identity(), this.#load(), this.#ttlMs);
      this.#lease = { incarnation, number: ++this.#acquired };
      this.#incarnations.push(incarnation);
      if (this.#incarnations.length > REMEMBERED) this.#incarnations.shift();
      this.#extendedAt = begunAt;
      this.#health.good();
      this.#log.info({ incarnation }, 'lease acquired');
      this.#events.acquired(this.#lease);
      return true;
    } catch (error) {
      this.#health.bad(error instanceof Error ? error.message : String(error));
      this.#log.debug({ err: error }, 'lease neither extended nor acquired');
      return false;
    }
  }
}
