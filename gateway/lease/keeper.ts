/**
 * Keeps this worker's lease. An expired lease is never revived: the worker acquires a new one with a new
 * number and claims its sessions again under it. A worker that was stopped for a minute and a worker whose
 * Redis came back empty therefore share one recovery path.
 */
import type { Logger } from 'pino';
import type { Leases, WorkerIdentity, WorkerLoad } from '../../bus/bus.ts';
import type { Dependency } from '../../health/health.ts';
import type { HeldLease } from '../held-lease.ts';

/** Incarnations remembered: as many as can be lost while answers to claims are outstanding. */
const REMEMBERED = 32;

export interface LeaseEvents {
  /** A lease was acquired; after any but the first, sessions must be claimed again. */
  acquired(lease: HeldLease): void;
  lost(lease: HeldLease): void;
}

export interface LeaseKeeperParts {
  leases: Leases;
  identity: () => WorkerIdentity;
  load: () => WorkerLoad;
  ttlMs: number;
  /** Of the installation, as administration servers say; 0 while unknown. */
  epoch: () => number;
  health: Dependency;
  events: LeaseEvents;
  log: Logger;
}

export class LeaseKeeper {
  readonly #parts: LeaseKeeperParts;
  #lease: HeldLease | null = null;
  #acquired = 0;
  /** Of the installation when the lease was acquired; 0 while unknown. */
  #epoch = 0;
  #rounds = 0;
  /** The last incarnations of this process, the newest last. */
  readonly #incarnations: string[] = [];
  /** Monotonic time when the last successful extension started. */
  #extendedAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #beating: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: LeaseKeeperParts) {
    this.#parts = parts;
  }

  /** The worker's latest lease, valid or not. */
  get last(): HeldLease | null {
    return this.#lease;
  }

  /** Completed attempts to extend or acquire. */
  get rounds(): number {
    return this.#rounds;
  }

  /**
   * The lease, if it cannot have expired by this process's own clock. Without one, no device may be admitted.
   */
  held(): HeldLease | null {
    return this.#lease && performance.now() - this.#extendedAt < this.#parts.ttlMs ? this.#lease : null;
  }

  /** Whether this incarnation is, or recently was, this process. */
  wasOurs(incarnation: string): boolean {
    return this.#incarnations.includes(incarnation);
  }

  /** Resolves after the first attempt, successful or not; attempts go on. */
  async start(): Promise<void> {
    await this.beat();
  }

  /** Extends or acquires now, and then every third of the lease's time to live. */
  beat(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#beating = this.#beating.then(async () => {
      if (this.#stopped) return;
      const done = await this.#extendOrAcquire();
      this.#rounds++;
      const thirdMs = this.#parts.ttlMs / 3;
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
      await this.#parts.leases.release(lease.incarnation, { allHeard });
    } catch (error) {
      this.#parts.log.warn({ err: error }, 'lease not released: it will expire');
    }
  }

  /** Whether it is held. In a new epoch it is given up: the ledger lost who connected since its backup. */
  async #extend({ incarnation }: HeldLease): Promise<boolean> {
    const { leases, load, ttlMs, log, epoch } = this.#parts;
    const now = epoch();
    if (this.#epoch > 0 && now > this.#epoch) {
      log.info({ incarnation, epoch: now }, 'a new epoch began: all sessions are reported again');
      await leases.release(incarnation);
      return false;
    }
    this.#epoch = now;
    return (await leases.extend(incarnation, load(), ttlMs)) === 'held';
  }

  async #extendOrAcquire(): Promise<boolean> {
    const begunAt = performance.now();
    try {
      if (this.#lease) {
        if (await this.#extend(this.#lease)) {
          this.#extendedAt = begunAt;
          this.#parts.health.good();
          return true;
        }
        const lost = this.#lease;
        this.#lease = null;
        this.#parts.health.bad('the lease expired');
        this.#parts.log.warn({ incarnation: lost.incarnation }, 'lease lost');
        this.#parts.events.lost(lost);
      }
      this.#epoch = this.#parts.epoch();
      const incarnation = await this.#parts.leases.acquire(
        this.#parts.identity(),
        this.#parts.load(),
        this.#parts.ttlMs,
      );
      this.#lease = { incarnation, number: ++this.#acquired };
      this.#incarnations.push(incarnation);
      if (this.#incarnations.length > REMEMBERED) this.#incarnations.shift();
      this.#extendedAt = begunAt;
      this.#parts.health.good();
      this.#parts.log.info({ incarnation }, 'lease acquired');
      this.#parts.events.acquired(this.#lease);
      return true;
    } catch (error) {
      this.#parts.health.bad(error instanceof Error ? error.message : String(error));
      this.#parts.log.debug({ err: error }, 'lease neither extended nor acquired');
      return false;
    }
  }
}
