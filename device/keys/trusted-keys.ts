import {
  decodeServerKeys,
  type Edition,
  editionOf,
  isSignedBy,
  NO_EDITION,
  type ServerKeys,
  type SignedServerKeys,
  succeedServerKeys,
} from '../../protocol/index.ts';
import type { DeviceCrypto } from '../platform/crypto.ts';
import type { DeviceState } from '../storage/store.ts';

/**
 * Whose signatures the device believes: those of the signing keys in the newest document of server keys that
 * it holds (K-3, K-4).
 */
export class TrustedKeys {
  readonly #crypto: DeviceCrypto;
  #keys: Pick<ServerKeys, 'signing'>;
  /** `null`: it enrolled with one key and no document, and takes none. */
  #held: ServerKeys | null;

  constructor({ keys, identity }: Pick<DeviceState, 'keys' | 'identity'>, crypto: DeviceCrypto) {
    this.#crypto = crypto;
    this.#held = keys ? decodeServerKeys(keys.body) : null;
    this.#keys = this.#held ?? { signing: identity ? [identity.serverKey] : [] };
  }

  /** Of the document it holds. */
  get edition(): Edition {
    return this.#held ? editionOf(this.#held) : NO_EDITION;
  }

  verify(bytes: Uint8Array, sig: Uint8Array): Promise<boolean> {
    return isSignedBy(this.#keys, bytes, sig, this.#crypto.verify);
  }

  /** Whether this is a newer document, properly signed: then it counts from now on, and is to be kept. */
  async take(signed: SignedServerKeys): Promise<boolean> {
    const next = this.#held && (await succeedServerKeys(this.#held, signed, this.#crypto.verify));
    if (!next) return false;
    this.#held = next;
    this.#keys = next;
    return true;
  }
}
