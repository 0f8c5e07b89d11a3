/**
 * The work that depends on a lease: reading its outbox and claiming sessions under it. A new lease starts
 * only when the reader of the previous one has finished, so that two leases never mix.
 */

import { type ReclaimParts, reclaim } from '../admission/reclaim.ts';
import { Delivery, type DeliveryParts } from '../delivery/delivery.ts';
import { OutboxReader } from '../delivery/outbox-reader.ts';
import type { HeldLease } from '../held-lease.ts';
import type { TunnelRelay } from '../tunnels/tunnel-relay.ts';
import type { LeaseKeeper } from './keeper.ts';

export interface LeaseWorkParts
  extends Omit<ReclaimParts, 'current' | 'wasOurs'>,
    Omit<DeliveryParts, 'incarnation' | 'now' | 'tunnels'> {
  outboxPollMs: number;
  tunnels: TunnelRelay;
}

export class LeaseWork {
  readonly #parts: LeaseWorkParts;
  #reader: OutboxReader | null = null;
  #work: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: LeaseWorkParts) {
    this.#parts = parts;
  }

  /** Grows with every read of the outbox. */
  get rounds(): number {
    return this.#reader?.rounds ?? 0;
  }

  acquired(lease: HeldLease, keeper: LeaseKeeper): void {
    const before = this.#reader;
    const reader = this.#makeReader(lease, keeper);
    this.#reader = reader;
    this.#work = this.#work.then(async () => {
      await before?.stop();
      if (this.#reader !== reader || this.#stopped) return;
      reader.start();
      this.#parts.tunnels.reincarnated();
      await reclaim(
        {
          ...this.#parts,
          wasOurs: (incarnation) => keeper.wasOurs(incarnation),
          current: ({ number }) => keeper.last?.number === number && !this.#stopped,
        },
        lease,
      );
    });
  }

  lost({ incarnation }: HeldLease): void {
    this.#parts.metrics.leasesLost++;
    this.#outboxLost(incarnation);
  }

  /** Finishes current deliveries and claims, and starts nothing more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#work;
    await this.#reader?.stop();
  }

  #makeReader({ incarnation }: HeldLease, keeper: LeaseKeeper): OutboxReader {
    const { bus, outboxPollMs, log } = this.#parts;
    const delivery = new Delivery({
      ...this.#parts,
      incarnation,
      now: bus.clock.now.bind(bus.clock),
    });
    const events = {
      deliver: delivery.deliver.bind(delivery),
      lost: () => {
        this.#outboxLost(incarnation);
        // The lease is probably gone as well: check now.
        void keeper.beat();
      },
    };
    return new OutboxReader({ outboxes: bus.outboxes, incarnation, pollMs: outboxPollMs, events, log });
  }

  #outboxLost(incarnation: string): void {
    this.#parts.metrics.outboxesLost++;
    const { spool, bus } = this.#parts;
    spool.add({ kind: 'outbox-lost', incarnation, at: bus.clock.now() });
  }
}
