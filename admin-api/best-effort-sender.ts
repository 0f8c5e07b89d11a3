import type { Logger } from 'pino';
import type { Bus, Delivery, Holder } from '../bus/bus.ts';
import { BusUnavailable } from '../bus/bus.ts';
import type { LeaseList } from './live-workers.ts';

const CHUNK = 1000;

/** Something for several devices. */
export interface Letter extends Pick<Delivery, 'devices' | 'frame' | 'settled'> {
  /** Name of the worker that has them. They are looked up when it is absent or unknown. */
  worker?: string;
}

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
  readonly #leases: LeaseList;
  readonly #log: Logger;

  constructor({ bus, leases, log }: { bus: Bus; leases: LeaseList; log: Logger }) {
    this.#bus = bus;
    this.#leases = leases;
    this.#log = log;
  }

  sendFrame(devices: readonly string[], frame: Uint8Array): Promise<void> {
    return this.send([{ devices: [...devices], frame }]);
  }

  /** To the workers that the letters name, and with one lookup to those that hold the other devices. */
  async send(letters: readonly Letter[]): Promise<void> {
    const unknown = await this.#sendToWorkers(letters);
    const devices = [...new Set(unknown.flatMap((letter) => letter.devices))];
    const lettersOf = new Map<string, number[]>();
    for (const [i, letter] of unknown.entries()) {
      for (const device of letter.devices) {
        const known = lettersOf.get(device);
        if (known) known.push(i);
        else lettersOf.set(device, [i]);
      }
    }
    await this.#send(devices, (held) => {
      const deliveries: (Delivery | undefined)[] = [];
      for (const [device] of held) {
        for (const i of lettersOf.get(device) ?? []) {
          const delivery = deliveries[i];
          if (delivery) delivery.devices.push(device);
          else deliveries[i] = toDelivery(unknown[i] as Letter, [device]);
        }
      }
      return deliveries.filter((delivery) => delivery !== undefined);
    });
  }

  /** Returns the letters whose worker is not known. */
  async #sendToWorkers(letters: readonly Letter[]): Promise<Letter[]> {
    const incarnations = this.#incarnations(letters);
    const unknown: Letter[] = [];
    const outgoing = new Map<string, Delivery[]>();
    for (const letter of letters) {
      const incarnation = letter.worker && incarnations.get(letter.worker);
      if (!incarnation) {
        unknown.push(letter);
        continue;
      }
      const deliveries = outgoing.get(incarnation) ?? [];
      outgoing.set(incarnation, deliveries);
      for (let start = 0; start < letter.devices.length; start += CHUNK) {
        deliveries.push(toDelivery(letter, letter.devices.slice(start, start + CHUNK)));
      }
    }
    try {
      await this.#append(outgoing);
    } catch (error) {
      this.#dropped(error, letters);
    }
    return unknown;
  }

  /** Of the workers that letters name; of two with one name, the newer. */
  #incarnations(letters: readonly Letter[]): ReadonlyMap<string, string> {
    if (!letters.some(({ worker }) => worker !== undefined)) return new Map();
    const leases = [...this.#leases.list()].sort((a, b) => a.since - b.since);
    return new Map(leases.map(({ identity, incarnation }) => [identity.worker, incarnation]));
  }

  async #append(outgoing: ReadonlyMap<string, readonly Delivery[]>): Promise<void> {
    const answers = await Promise.all(
      [...outgoing].map(([incarnation, deliveries]) => this.#bus.outboxes.append(incarnation, deliveries)),
    );
    if (answers.includes('full'))
      this.#log.warn('frames for devices dropped: the outbox of a worker is full');
  }

  #dropped(error: unknown, letters: readonly { devices: readonly string[] }[]): void {
    if (!(error instanceof BusUnavailable)) throw error;
    const devices = letters.reduce((sum, letter) => sum + letter.devices.length, 0);
    this.#log.warn({ err: error, devices }, 'frames for devices dropped');
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
        await this.#append(
          new Map([...byWorker].map(([incarnation, held]) => [incarnation, toDeliveries(held)])),
        );
      }
    } catch (error) {
      this.#dropped(error, [{ devices }]);
    }
  }
}

function toDelivery({ frame, settled }: Letter, devices: string[]): Delivery {
  return { devices, ...(frame && { frame }), ...(settled && { settled }) };
}
