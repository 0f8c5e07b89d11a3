/** Encrypts arguments of secret commands for the store and for devices. */
import { randomBytes } from 'node:crypto';
import type { Installation } from '../../bus/bus.ts';
import { encodeArgs, LIMITS, type SealedArgs, sealedArgsBytes } from '../../protocol/index.ts';
import { encrypt } from '../at-rest/aes-gcm.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import type { SecretArgs } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { LedgerSecrets } from './ledger-secrets.ts';

export class SecretCommands {
  readonly #ledger: LedgerSecrets;
  readonly #devices: DeviceSecrets;
  readonly #epoch: number;

  constructor(parts: { ledgerSecrets: LedgerSecrets; secrets: DeviceSecrets; installation: Installation }) {
    this.#ledger = parts.ledgerSecrets;
    this.#devices = parts.secrets;
    this.#epoch = parts.installation.epoch;
  }

  /** For the store. Throws `ProtocolError` for arguments that no command may have. */
  take(command: string, args: unknown): SecretArgs {
    return { atRest: this.#ledger.sealArgs(command, encodeArgs(args)), sealed: null };
  }

  /** The same for a group, with its current key, in the transaction that stores the command. */
  async forGroup(
    tx: Store,
    command: string,
    { atRest }: SecretArgs,
    target: { group: string; at: number },
  ): Promise<SecretArgs> {
    const { sealedKey, ...key } = await tx.groupKeys.current(target.group, this.#epoch, target.at, (name) =>
      this.#ledger.sealGroupKey(name, randomBytes(LIMITS.keyBytes)),
    );
    const plain = this.#ledger.openArgs(command, atRest);
    const bytes = this.#ledger.openGroupKey(key, sealedKey);
    return { atRest, sealed: { key, ...encrypt(bytes, plain, sealedArgsBytes(command, key)) } };
  }

  /** With the device's own key, so that it need not ask for one. */
  forDevice(command: string, { atRest }: SecretArgs, device: { id: string; generation: number }): SealedArgs {
    const plain = this.#ledger.openArgs(command, atRest);
    const key = this.#devices.secretKey(device.id, device.generation);
    return encrypt(key, plain, sealedArgsBytes(command, { device: device.id }));
  }

  /** Distinguishes two request bodies without helping to guess their arguments. */
  codeOf(body: string): Uint8Array {
    return this.#ledger.codeOf(body);
  }
}
