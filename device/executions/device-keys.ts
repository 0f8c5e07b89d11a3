import {
  decryptSecret,
  type Encrypted,
  encryptSecret,
  RESULT_KEY_BYTES,
  SECRET_KEY_BYTES,
  WRAP_KEY_BYTES,
} from '../../protocol/index.ts';
import type { DeviceCrypto } from '../platform/crypto.ts';
import type { DeviceIdentity } from '../storage/store.ts';

const LABELS = { result: RESULT_KEY_BYTES, wrap: WRAP_KEY_BYTES, secret: SECRET_KEY_BYTES };
type Label = keyof typeof LABELS;
type Derive = (label: Label) => Promise<Uint8Array>;

/** The keys derived from the device secret, each on first use. */
export class DeviceKeys {
  readonly deviceId: string;
  readonly #crypto: DeviceCrypto;
  /** From the present secret, then from the one before it. */
  #keys: Derive[];

  constructor({ deviceId, secret, formerSecret }: DeviceIdentity, crypto: DeviceCrypto) {
    this.deviceId = deviceId;
    this.#crypto = crypto;
    this.#keys = [secret, formerSecret].flatMap((each) => (each ? [derive(each, crypto)] : []));
  }

  /** The device has another secret (K-6). What was sealed with the one before still opens. */
  replace(secret: Uint8Array): void {
    this.#keys = [derive(secret, this.#crypto), ...this.#keys.slice(0, 1)];
  }

  /** Authentication code of a result or a status (B-5). */
  async mac(bytes: Uint8Array): Promise<Uint8Array> {
    return this.#crypto.mac(await this.#present('result'), bytes);
  }

  /** With the secret key. */
  async seal(plain: Uint8Array, about: Uint8Array): Promise<Encrypted> {
    return encryptSecret(this.#crypto, await this.#present('secret'), plain, about);
  }

  /** With one of its own keys, or a group's; `null` for what that key did not seal. */
  async open(key: 'wrap' | 'secret' | Uint8Array, sealed: Encrypted, about: Uint8Array) {
    if (typeof key !== 'string') return decryptSecret(this.#crypto, key, sealed, about);
    for (const derived of this.#keys) {
      const plain = await decryptSecret(this.#crypto, await derived(key), sealed, about);
      if (plain !== null) return plain;
    }
    return null;
  }

  get #present(): Derive {
    return this.#keys[0] as Derive;
  }
}

function derive(secret: Uint8Array, crypto: DeviceCrypto): Derive {
  const made: Partial<Record<Label, Promise<Uint8Array>>> = {};
  return (label) => {
    made[label] ??= crypto.mac(secret, LABELS[label]).catch((error) => {
      delete made[label];
      throw error;
    });
    return made[label];
  };
}
