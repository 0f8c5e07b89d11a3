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

/** Records the end of tunnels, and then where they are: the worker closes both legs with the reason. */
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

  /** Hands something about a tunnel to the worker that has it; `false` when that worker cannot be told. */
  async deliver(incarnation: string, delivery: Delivery): Promise<boolean> {
    try {
      return (await this.#parts.bus.outboxes.append(incarnation, [delivery])) === 'appended';
    } catch (error) {
      if (!(error instanceof BusUnavailable)) throw error;
      this.#parts.log.warn({ err: error, incarnation }, 'a worker could not be told of a tunnel');
      return false;
    }
  }

  /** The worker closes both legs. */
  #tellWorker(incarnation: string, id: string, reason: string): Promise<boolean> {
    return this.deliver(incarnation, { devices: [], tunnelEnd: { id, reason: clipReason(reason) } });
  }

  /** A device whose gateway is gone would wait for it a while; it hears of the end another way. */
  async #tellDevice(tunnel: Tunnel, reason: string): Promise<void> {
    const { store, now, dispatcher } = this.#parts;
    if (tunnel.at === null || !(await store.devices.get(tunnel.deviceId))) return;
    const at = now();
    const { deviceId: device, createdBy, id } = tunnel;
    await store.transaction((tx) =>
      addTunnelCommand(tx, {
        id: newCommandId(at),
        type: 'tunnel.close',
        // A device that is away hears from its gateway, or gives up by itself.
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
