import type { Logger } from 'pino';
import { type Bus, BusUnavailable, type Delivery } from '../../bus/bus.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { Tunnel } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { addTunnelCommand, clipReason, newCommandId } from './tunnel-commands.ts';
import { recordTunnelEnds } from './tunnel-record.ts';

export interface TunnelCloserParts {
  store: Store;
  bus: Bus;
  dispatcher: { wake(devices: Iterable<string>): void };
  hub: { notify(): void };
  metrics: AdminMetrics;
  now: () => number;
  log: Logger;
}

export interface TunnelEnd {
  id: string;
  onTurn?: number;
  code: string;
  reason: string;
}

/** Records the end of tunnels, and then informs their workers, which close both legs with the reason. */
export class TunnelCloser {
  readonly #parts: TunnelCloserParts;

  constructor(parts: TunnelCloserParts) {
    this.#parts = parts;
  }

  /** Returns those it ended; others had ended before, or moved. */
  async end(ends: readonly TunnelEnd[], actor: string): Promise<Tunnel[]> {
    if (ends.length === 0) return [];
    const { store, now, hub } = this.#parts;
    const at = now();
    const ended = await store.transaction(async (tx) => {
      const ended = await tx.tunnels.end(ends, at);
      await recordTunnelEnds(tx, at, actor, ended);
      return ended;
    });
    if (ended.length === 0) return [];
    hub.notify();
    this.count(ended);
    for (const tunnel of ended) {
      const reason = tunnel.end?.reason ?? '';
      const told = tunnel.at && (await this.#tellWorker(tunnel.at.incarnation, tunnel.id, reason));
      if (!told) await this.#tellDevice(tunnel, reason);
    }
    return ended;
  }

  /** Ended tunnels, for the metrics. */
  count(ended: readonly Tunnel[]): void {
    for (const { end } of ended) this.#parts.metrics.tunnelsEnded.inc({ code: end?.code ?? 'closed' });
  }

  /** Sends something about a tunnel to its worker; `false` if that worker cannot be reached. */
  async deliver(incarnation: string, delivery: Delivery): Promise<boolean> {
    try {
      return (await this.#parts.bus.outboxes.append(incarnation, [delivery])) === 'appended';
    } catch (error) {
      if (!(error instanceof BusUnavailable)) throw error;
      this.#parts.log.warn({ err: error, incarnation }, 'a worker could not be informed about a tunnel');
      return false;
    }
  }

  /** The worker closes both legs. */
  #tellWorker(incarnation: string, id: string, reason: string): Promise<boolean> {
    return this.deliver(incarnation, { devices: [], tunnelEnd: { id, reason: clipReason(reason) } });
  }

  /** A device whose gateway is gone would wait for a while, so it learns of the end in another way. */
  async #tellDevice(tunnel: Tunnel, reason: string): Promise<void> {
    const { store, now, dispatcher } = this.#parts;
    if (tunnel.at === null || !(await store.devices.get(tunnel.deviceId))) return;
    const at = now();
    const { deviceId: device, createdBy, id } = tunnel;
    await store.transaction((tx) =>
      addTunnelCommand(tx, {
        id: newCommandId(at),
        type: 'tunnel.close',
        // An offline device learns it from its gateway, or gives up by itself.
        offline: 'skip',
        args: { tunnel: id, reason: clipReason(reason) },
        device,
        createdBy,
        at,
      }),
    );
    dispatcher.wake([device]);
  }
}
