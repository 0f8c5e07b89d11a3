import type { OrderSigner } from '../order-signer.ts';
import type { Command } from '../store/records.ts';

const KEPT = 256;

/** What a device is told of a command. */
export type CommandToSend = Pick<
  Command,
  'id' | 'type' | 'args' | 'target' | 'issuedAt' | 'expiresAt' | 'timeoutMs'
>;

/**
 * Commands as signed frames. A command to a group is signed once and the same bytes go to every device of the
 * group; a command to named devices is signed for each.
 */
export class CommandFrames {
  readonly #signer: OrderSigner;
  readonly #shared = new Map<string, Uint8Array>();

  constructor(signer: OrderSigner) {
    this.#signer = signer;
  }

  /** For every device whose membership names the command's target group. */
  forGroup(command: CommandToSend, group: string): Uint8Array {
    let frame = this.#shared.get(command.id);
    if (!frame) {
      frame = this.#frame(command, { group });
      this.#shared.set(command.id, frame);
      const oldest = this.#shared.keys().next().value;
      if (this.#shared.size > KEPT && oldest !== undefined) this.#shared.delete(oldest);
    }
    return frame;
  }

  forDevice(command: CommandToSend, device: string): Uint8Array {
    return this.#frame(command, { device });
  }

  /** Asks one device to stop a command, or not to start it (D-8). */
  cancelForDevice(id: string, device: string, now: number): Uint8Array {
    return this.#signer.frame({
      kind: 'cancel',
      id,
      target: { device },
      issuedAt: now,
      expiresAt: now + 3_600_000,
    });
  }

  #frame(command: CommandToSend, target: { device: string } | { group: string }): Uint8Array {
    return this.#signer.frame({
      kind: 'command',
      id: command.id,
      type: command.type,
      args: command.args ?? null,
      target,
      issuedAt: command.issuedAt,
      expiresAt: command.expiresAt,
      timeoutMs: command.timeoutMs,
    });
  }
}
