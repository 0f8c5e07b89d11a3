import type { Logger } from 'pino';
import type { Bus, Delivery, Holder } from '../bus/bus.ts';
import { BusUnavailable } from '../bus/bus.ts';

const CHUNK = 1000;

/** Reaches devices that are connected now; guarantees nothing. */
export interface DeviceSender {
  sendFrame(devices: readonly string[], frame: Uint8Array): Promise<void>;
  close(devices: readonly string[], code: number, reason: string): Promise<void>;
  /** Sends a device its membership, and closes its current session; its worker keeps the edition. */
  dismiss(device: string, frame: Uint8Array | null, code: number, reason: string): Promise<void>;
  /** What the worker of each connected device gets, in order. */
  deliver(
    devices: readonly string[],
    toDeliveries: (device: string, holder: Holder) => readonly Delivery[],
  ): Promise<void>;
}

/**
 * Sends frames and closes to the worker that holds each device now. It guarantees nothing: frames are lost if
 * nobody holds the device or the bus is away. It serves what is repeated anyway: devices ask again for
 * confirmations, and every connect checks memberships and blocks.
 */
export class BestEffortSender implements DeviceSender {
  readonly #bus: Bus;
  readonly #log: Logger;

  constructor({ bus, log }: { bus: Bus; log: Logger }) {
    this.#bus = bus;
    this.#log = log;
  }

  sendFrame(devices: readonly string[], frame: Uint8Array): Promise<void> {
    return this.sendFrames([{ devices, frame }]);
  }

  /** Several frames, each for its own devices, with one lookup of their workers. */
  async sendFrames(letters: readonly { devices: readonly string[]; frame: Uint8Array }[]): Promise<void> {
    const devices = [...new Set(letters.flatMap((letter) => letter.devices))];
    const framesOf = new Map<string, number[]>();
    for (const [i, letter] of letters.entries()) {
      for (const device of letter.devices) {
        const frames = framesOf.get(device);
        if (frames) frames.push(i);
        else framesOf.set(device, [i]);
      }
    }
    await this.#send(devices, (held) => {
      const deliveries: (Delivery | undefined)[] = [];
      for (const [device] of held) {
        for (const i of framesOf.get(device) ?? []) {
          const delivery = deliveries[i];
          if (delivery) delivery.devices.push(device);
          else deliveries[i] = { devices: [device], frame: (letters[i] as { frame: Uint8Array }).frame };
        }
      }
      return deliveries.filter((delivery) => delivery !== undefined);
    });
  }

  /** Closes the current sessions of these devices, but no later ones. */
  async close(devices: readonly string[], code: number, reason: string): Promise<void> {
    await this.#send(devices, (held) => [
      {
        devices: held.map(([device]) => device),
        close: { code, reason, sessions: held.map(([, holder]) => holder.session) },
      },
    ]);
  }

  async dismiss(device: string, frame: Uint8Array | null, code: number, reason: string): Promise<void> {
    await this.deliver([device], (id, { session }) => [
      { devices: [id], ...(frame && { frame }), close: { code, reason, sessions: [session] } },
    ]);
  }

  /** What the worker of each connected device gets, in order. */
  async deliver(
    devices: readonly string[],
    toDeliveries: (device: string, holder: Holder) => readonly Delivery[],
  ): Promise<void> {
    await this.#send(devices, (held) => held.flatMap(([device, holder]) => toDeliveries(device, holder)));
  }

  async #send(
    devices: readonly string[],
    toDeliveries: (held: [string, Holder][]) => Delivery[],
  ): Promise<void> {
    try {
      for (let start = 0; start < devices.length; start += CHUNK) {
        const some = devices.slice(start, start + CHUNK);
        const holders = await this.#bus.presence.locate(some);
        const byWorker = new Map<string, [string, Holder][]>();
        for (const [i, holder] of holders.entries()) {
          if (!holder) continue;
          const held = byWorker.get(holder.incarnation) ?? [];
          held.push([some[i] as string, holder]);
          byWorker.set(holder.incarnation, held);
        }
        const answers = await Promise.all(
          [...byWorker].map(([incarnation, held]) =>
            this.#bus.outboxes.append(incarnation, toDeliveries(held)),
          ),
        );
        if (answers.includes('full'))
          this.#log.warn('frames for devices dropped: the outbox of a worker is full');
      }
    } catch (error) {
      if (!(error instanceof BusUnavailable)) throw error;
      this.#log.warn({ err: error, devices: devices.length }, 'frames for devices dropped');
    }
  }
}
