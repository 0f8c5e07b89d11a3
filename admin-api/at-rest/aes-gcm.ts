/** AES-256-GCM with random nonces of 12 bytes, the tag of 16 bytes at the end. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Encrypted } from '../../protocol/index.ts';

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** `key`: 32 bytes; `about`: associated data. */
export function encrypt(key: Uint8Array, plain: Uint8Array, about: Uint8Array): Encrypted {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(about);
  return { nonce, ct: Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]) };
}

/** Throws for what was not encrypted with this key and about this. */
export function decrypt(key: Uint8Array, { nonce, ct }: Encrypted, about: Uint8Array): Buffer {
  const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(about).setAuthTag(ct.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(ct.subarray(0, -TAG_BYTES)), decipher.final()]);
}

/** Nonce and ciphertext, as one. */
export function joined({ nonce, ct }: Encrypted): Buffer {
  return Buffer.concat([nonce, ct]);
}

export function split(bytes: Uint8Array): Encrypted {
  return { nonce: bytes.subarray(0, NONCE_BYTES), ct: bytes.subarray(NONCE_BYTES) };
}
