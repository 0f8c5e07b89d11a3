import {
  decryptSecret,
  type Encrypted,
  encryptSecret,
  RESULT_KEY_BYTES,
  resultBytes,
  SECRET_KEY_BYTES,
  WRAP_KEY_BYTES,
} from '../../protocol/index.ts';
import type { DeviceCrypto } from '../platform/crypto.ts';
import type { DeviceIdentity } from '../storage/store.ts';

const LABELS = { result: RESULT_KEY_BYTES, wrap: WRAP_KEY_BYTES, secret: SECRET_KEY_BYTES };

/** The keys derived from the device secret, each on first use. */
export class DeviceKeys {
  readonly deviceId: string;
  readonly #secret: Uint8Array;
  readonly #crypto: DeviceCrypto;
  readonly #made: Partial<Record<keyof typeof LABELS, Promise<Uint8Array>>> = {};

  constructor({ deviceId, secret }: DeviceIdentity, crypto: DeviceCrypto) {
    this.deviceId = deviceId;
    this.#secret = secret;
    this.#crypto = crypto;
  }

  /** Authentication code of a result's body. */
  async mac(command: string, body: Uint8Array): Promise<Uint8Array> {
    return this.#crypto.mac(await this.#key('result'), resultBytes(this.deviceId, command, body));
  }

  /** With the secret key. */
  async seal(plain: Uint8Array, about: Uint8Array): Promise<Encrypted> {
    return encryptSecret(this.#crypto, await this.#key('secret'), plain, about);
  }

  /** Opens with one of its own keys, or a group's; `null` if that key did not seal it. */
  async open(
    key: 'wrap' | 'secret' | Uint8Array,
    sealed: Encrypted,
    about: Uint8Array,
  ): Promise<Uint8Array | null> {
    const bytes = typeof key === 'string' ? await this.#key(key) : key;
    return decryptSecret(this.#crypto, bytes, sealed, about);
  }

  #key(label: keyof typeof LABELS): Promise<Uint8Array> {
    this.#made[label] ??= this.#crypto.mac(this.#secret, LABELS[label]).catch((error) => {
      delete this.#made[label];
      throw error;
    });
    return this.#made[label];
  }
}
