/**
 * Encrypts the installation's secrets in the database with a key that is stored elsewhere. A key management
 * service can implement `SecretBox` as well.
 */
import { createHash } from 'node:crypto';
import type { Meta } from '../store/store.ts';
import { StoreSettingsError } from '../store/store-settings-error.ts';
import { decrypt, encrypt, joined, split } from './aes-gcm.ts';

export interface SecretBox {
  /** Whether it encrypts at all. */
  readonly encrypts: boolean;
  /** `label` names the secret: something sealed under another label does not open. */
  seal(label: string, secret: Uint8Array): Promise<string>;
  /** Rejects with `StoreSettingsError` if it was sealed with another key. */
  open(label: string, sealed: string): Promise<Buffer>;
  /** The key that another administration server needs, 32 bytes; `null` if there is none to hand on. */
  sharedKey(): Uint8Array | null;
}

/** Whether it is encrypted, with any key, and not only stored as text. */
export function isEncrypted(stored: string): boolean {
  return stored.startsWith(`${SEALED}:`);
}

const SEALED = 'aes256gcm';

/** Without a key: base64. */
export class PlainBox implements SecretBox {
  readonly encrypts = false;

  async seal(_label: string, secret: Uint8Array): Promise<string> {
    return Buffer.from(secret).toString('base64');
  }

  async open(label: string, stored: string): Promise<Buffer> {
    if (!isEncrypted(stored)) return Buffer.from(stored, 'base64');
    throw new StoreSettingsError(
      `the ${label} in the database is encrypted, and no key is given: name the file of the key with ` +
        '--secrets-key-file',
    );
  }

  sharedKey(): null {
    return null;
  }
}

/** AES-256-GCM with one key. */
export class KeyBox implements SecretBox {
  readonly encrypts = true;
  readonly #key: Buffer;
  readonly #id: string;

  /** 32 bytes. */
  constructor(key: Uint8Array) {
    this.#key = Buffer.from(key);
    this.#id = createHash('sha256').update('pushpoint key id\0').update(key).digest('hex').slice(0, 16);
  }

  async seal(label: string, secret: Uint8Array): Promise<string> {
    const bytes = joined(encrypt(this.#key, secret, Buffer.from(label)));
    return [SEALED, this.#id, bytes.toString('base64')].join(':');
  }

  /** A secret stored before there was a key opens as well. */
  async open(label: string, stored: string): Promise<Buffer> {
    if (!isEncrypted(stored)) return Buffer.from(stored, 'base64');
    const [, id, text = ''] = stored.split(':');
    if (id !== this.#id) {
      throw new StoreSettingsError(
        `the ${label} in the database is encrypted with key ${id}, and this is key ${this.#id}: ` +
          'restore the file of ' +
          'that key (--secrets-key-file, or secrets.key in the data folder)',
      );
    }
    return decrypt(this.#key, split(Buffer.from(text, 'base64')), Buffer.from(label));
  }

  sharedKey(): Uint8Array {
    return this.#key;
  }
}

/**
 * The secret stored under `key`, created if missing; servers that start at the same time agree on one.
 * Encrypts a secret that was stored before there was a key.
 */
export async function loadSecret(
  meta: Meta,
  box: SecretBox,
  { key, label }: { key: string; label: string },
  make: () => Uint8Array,
): Promise<Buffer> {
  const stored = (await meta.get(key)) ?? (await meta.setOnce(key, await box.seal(label, make())));
  const secret = await box.open(label, stored);
  if (box.encrypts && !isEncrypted(stored)) await meta.replace(key, stored, await box.seal(label, secret));
  return secret;
}
