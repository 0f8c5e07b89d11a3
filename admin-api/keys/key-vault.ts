import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { loadSecret, type SecretBox } from '../at-rest/secret-box.ts';
import type { Meta } from '../store/store.ts';

/** The purpose of a private key, as errors name it. */
export type KeyUse = 'root key' | 'signing key';

/** An Ed25519 key; the public one is raw, 32 bytes. */
export interface KeyPair {
  publicKey: Uint8Array;
  privateKey: KeyObject;
}

export function newKeyPair(): KeyPair {
  return pairOf(generateKeyPairSync('ed25519').privateKey);
}

export function pairOf(privateKey: KeyObject): KeyPair {
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
  return { publicKey: Buffer.from(x as string, 'base64url'), privateKey };
}

/** PKCS #8. */
export function derOf(privateKey: KeyObject): Buffer {
  return privateKey.export({ format: 'der', type: 'pkcs8' });
}

export function fromDer(der: Buffer): KeyPair {
  return pairOf(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
}

/** The private keys of the installation: in the store, each under its public key, encrypted at rest. */
export class KeyVault {
  readonly #meta: Meta;
  readonly #box: SecretBox;

  constructor(meta: Meta, box: SecretBox) {
    this.#meta = meta;
    this.#box = box;
  }

  async keep(use: KeyUse, { publicKey, privateKey }: KeyPair): Promise<void> {
    await this.#meta.set(rowOf(use, publicKey), await this.#box.seal(use, derOf(privateKey)));
  }

  /** `null`: it is not stored here. Rejects with `StoreSettingsError` if it does not open. */
  async find(use: KeyUse, publicKey: Uint8Array): Promise<KeyPair | null> {
    const key = rowOf(use, publicKey);
    if ((await this.#meta.get(key)) === null) return null;
    const der = await loadSecret(this.#meta, this.#box, { key, label: use }, () => {
      throw new Error(`${use} deleted meanwhile`);
    });
    const pair = fromDer(der);
    return Buffer.from(publicKey).equals(pair.publicKey) ? pair : null;
  }

  async forget(use: KeyUse, publicKey: Uint8Array): Promise<void> {
    await this.#meta.delete([rowOf(use, publicKey)]);
  }
}

function rowOf(use: KeyUse, publicKey: Uint8Array): string {
  return `${use.replace(' ', '-')}:${Buffer.from(publicKey).toString('base64url')}`;
}
