/** AES-256-GCM with random nonces of 12 bytes, the tag of 16 bytes at the end. */
import { randomBytes } from 'node:crypto';
import { decryptGcm, encryptGcm } from '../../protocol/aes-gcm-node.ts';
import { type Encrypted, LIMITS } from '../../protocol/index.ts';

const NONCE_BYTES = LIMITS.sealNonceBytes;

/** `key`: 32 bytes; `about`: associated data. */
export function encrypt(key: Uint8Array, plain: Uint8Array, about: Uint8Array): Encrypted {
  const nonce = randomBytes(NONCE_BYTES);
  return { nonce, ct: Buffer.concat(encryptGcm(key, nonce, plain, about)) };
}

/** Throws unless it was encrypted with this key and this associated data. */
export function decrypt(key: Uint8Array, { nonce, ct }: Encrypted, about: Uint8Array): Buffer {
  return decryptGcm(key, nonce, ct, about);
}

/** Nonce and ciphertext in one. */
export function joined({ nonce, ct }: Encrypted): Buffer {
  return Buffer.concat([nonce, ct]);
}

export function split(bytes: Uint8Array): Encrypted {
  return { nonce: bytes.subarray(0, NONCE_BYTES), ct: bytes.subarray(NONCE_BYTES) };
}
