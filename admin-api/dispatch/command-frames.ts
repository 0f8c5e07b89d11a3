import type { CommandOrder } from '../../protocol/index.ts';
import type { OrderSigner } from '../order-signer.ts';
import type { SecretCommands } from '../secrets/secret-commands.ts';
import type { Command } from '../store/records.ts';

const KEPT = 256;

/** The part of a command that travels to devices. */
export type CommandToSend = Pick<
  Command,
  'id' | 'type' | 'args' | 'secret' | 'target' | 'issuedAt' | 'expiresAt' | 'timeoutMs'
>;

/**
 * Commands as signed frames. A command to a group is signed once and the same bytes go to every device of the
 * group; a command to named devices is signed for each.
 */
export class CommandFrames {
  readonly #signer: OrderSigner;
  readonly #secretCommands: SecretCommands;
  readonly #shared = new Map<string, Uint8Array>();
  /** The signer of those frames. */
  #signedBy: Uint8Array;

  constructor(parts: { signer: OrderSigner; secretCommands: SecretCommands }) {
    this.#signer = parts.signer;
    this.#secretCommands = parts.secretCommands;
    this.#signedBy = parts.signer.publicKey;
  }

  /** For every device whose membership names the command's target group. */
  forGroup(command: CommandToSend, group: string): Uint8Array {
    if (this.#signedBy !== this.#signer.publicKey) {
      this.#signedBy = this.#signer.publicKey;
      this.#shared.clear();
    }
    let frame = this.#shared.get(command.id);
    if (!frame) {
      const { args, secret } = command;
      const sealed = secret?.sealed;
      if (secret && !sealed) throw new Error(`command ${command.id} is not sealed for its group`);
      frame = this.#frame(command, { group }, sealed ? { args: null, sealed } : { args });
      this.#shared.set(command.id, frame);
      const oldest = this.#shared.keys().next().value;
      if (this.#shared.size > KEPT && oldest !== undefined) this.#shared.delete(oldest);
    }
    return frame;
  }

  /** `generation`: which of its secrets the device has; a secret command is sealed with it. */
  forDevice(command: CommandToSend, device: string, generation = 1): Uint8Array {
    const { id, args, secret } = command;
    if (!secret) return this.#frame(command, { device }, { args });
    const sealed = this.#secretCommands.forDevice(id, secret, { id: device, generation });
    return this.#frame(command, { device }, { args: null, sealed });
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

  #frame(
    command: CommandToSend,
    target: { device: string } | { group: string },
    { args, sealed }: Pick<CommandOrder, 'args' | 'sealed'>,
  ): Uint8Array {
    return this.#signer.frame({
      kind: 'command',
      id: command.id,
      type: command.type,
      args: args ?? null,
      ...(sealed && { sealed }),
      target,
      issuedAt: command.issuedAt,
      expiresAt: command.expiresAt,
      timeoutMs: command.timeoutMs,
    });
  }
}
