import type { Lease } from '../../bus/bus.ts';
import type { Tunnel } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { TunnelCloser } from './tunnel-closer.ts';
import { recordTunnel, recordTunnelEnds } from './tunnel-record.ts';
import { type TunnelReceipt, toReport } from './tunnel-reports.ts';

export interface TunnelIngestParts {
  tunnelCloser: TunnelCloser;
  keeper: { lookSoon(): void };
  leases: { list(): readonly Lease[]; refresh(): Promise<void> };
}

export interface AppliedTunnels {
  ended: Tunnel[];
  /** Moved tunnels whose both ends have joined the new worker. */
  arrived: { id: string; left: string }[];
  /** A device answered or failed to: the keeper checks at once. */
  commandEnded: boolean;
}

/** Records workers' reports about tunnels with the rest of a batch. */
export class TunnelIngest {
  readonly #parts: TunnelIngestParts;

  constructor(parts: TunnelIngestParts) {
    this.#parts = parts;
  }

  /** Before a batch is written: makes sure that the names of the reporting workers are known. */
  async prepare(receipts: readonly TunnelReceipt[]): Promise<void> {
    const known = this.#workers();
    if (receipts.some(({ incarnation }) => !known.has(incarnation))) await this.#parts.leases.refresh();
  }

  async write(tx: Store, receipts: readonly TunnelReceipt[], now: number): Promise<AppliedTunnels> {
    if (receipts.length === 0) return { ended: [], arrived: [], commandEnded: false };
    const workers = this.#workers();
    const { opened, ended, refused, arrived } = await tx.tunnels.apply(
      receipts.map(toReport),
      now,
      (incarnation) => workers.get(incarnation),
    );
    for (const tunnel of opened) await recordTunnel(tx, now, 'system', 'tunnel.opened', tunnel);
    for (const tunnel of refused) {
      for (const receipt of receipts) {
        if (receipt.event !== 'refused' || receipt.tunnel !== tunnel.id) continue;
        const { side, reason, address } = receipt;
        await recordTunnel(tx, now, 'system', 'tunnel.join-refused', tunnel, { side, why: reason, address });
      }
    }
    await recordTunnelEnds(tx, now, 'system', ended);
    return { ended, arrived, commandEnded: false };
  }

  async followUp({ ended, arrived, commandEnded }: AppliedTunnels): Promise<void> {
    this.#parts.tunnelCloser.count(ended);
    for (const { id, left } of arrived) {
      // The old worker would wait for legs that do not come back.
      await this.#parts.tunnelCloser.deliver(left, { devices: [], tunnelEnd: { id, reason: 'moved' } });
    }
    if (commandEnded) this.#parts.keeper.lookSoon();
  }

  #workers(): Map<string, string> {
    return new Map(
      this.#parts.leases.list().map(({ incarnation, identity }) => [incarnation, identity.worker]),
    );
  }
}
