import {
  decodeServerKeys,
  type Edition,
  editionOf,
  followServerKeys,
  isSignedBy,
  type ServerKeys,
  type SignedServerKeys,
} from '../../protocol/index.ts';
import type { DeviceCrypto } from '../platform/crypto.ts';

/**
 * Whose signatures the device believes: those of the signing keys in the newest document of server keys that
 * it holds (K-3, K-4).
 */
export class TrustedKeys {
  readonly #crypto: Pick<DeviceCrypto, 'verify'>;
  #keys: ServerKeys;

  constructor({ body }: SignedServerKeys, crypto: Pick<DeviceCrypto, 'verify'>) {
    this.#crypto = crypto;
    this.#keys = decodeServerKeys(body);
  }

  /** Of the document it holds. */
  get edition(): Edition {
    return editionOf(this.#keys);
  }

  verify(bytes: Uint8Array, sig: Uint8Array): Promise<boolean> {
    return isSignedBy(this.#keys, bytes, sig, this.#crypto.verify);
  }

  /**
   * The newest of these documents that follows from what it holds (K-7), to be kept: it counts from now on.
   * `null`: none does. One call at a time.
   */
  async take(documents: readonly SignedServerKeys[]): Promise<SignedServerKeys | null> {
    const newest = (await followServerKeys(documents, this.#keys, this.#crypto.verify)).at(-1);
    if (!newest) return null;
    this.#keys = newest.keys;
    return newest.signed;
  }
}
