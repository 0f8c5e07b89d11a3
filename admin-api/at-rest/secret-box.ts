/**
 * Secrets of the installation in the database are encrypted with a key that is stored apart from it. A key
 * management service can implement `SecretBox` as well.
 */
import { createHash } from 'node:crypto';
import type { Meta } from '../store/store.ts';
import { StoreSettingsError } from '../store/store-settings-error.ts';
import { decrypt, encrypt, joined, split } from './aes-gcm.ts';

export interface SecretBox {
  /** Whether what it seals is encrypted. */
  readonly encrypts: boolean;
  /** `label` says what the secret is: what was sealed under another label does not open. */
  seal(label: string, secret: Uint8Array): Promise<string>;
  /** Rejects with `StoreSettingsError` when this is not the key that it was sealed with. */
  open(label: string, sealed: string): Promise<Buffer>;
}

/** Whether it was encrypted, by whatever key, and not only stored as text. */
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

  /** What was stored before there was a key opens as well. */
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
}

/**
 * The secret stored under `key`, made when there is none; servers that start at once agree on one. What was
 * stored before there was a key is encrypted now.
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
