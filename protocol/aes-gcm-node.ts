/** AES-256-GCM by OpenSSL, for programs of Node only: the one place that names the algorithm. */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { LIMITS } from './limits.ts';

const ALGORITHM = 'aes-256-gcm';
const OPTIONS = { authTagLength: LIMITS.sealTagBytes };
const NOTHING = new Uint8Array();

/** 32 bytes. */
type Key = Uint8Array | KeyObject;

/** Ciphertext and tag, which follow each other. `nonce`: 12 bytes; `about`: associated data. */
export function encryptGcm(
  key: Key,
  nonce: Uint8Array,
  plain: Uint8Array,
  about: Uint8Array = NOTHING,
): [ciphertext: Buffer, tag: Buffer] {
  const cipher = createCipheriv(ALGORITHM, key, nonce, OPTIONS);
  if (about.length > 0) cipher.setAAD(about);
  const ciphertext = cipher.update(plain);
  cipher.final();
  return [ciphertext, cipher.getAuthTag()];
}

/** `ct`: with its tag. Throws for what was not encrypted with this key and about this. */
export function decryptGcm(
  key: Key,
  nonce: Uint8Array,
  ct: Uint8Array,
  about: Uint8Array = NOTHING,
): Buffer<ArrayBuffer> {
  const end = ct.length - LIMITS.sealTagBytes;
  if (end < 0) throw new TypeError('shorter than its tag');
  const decipher = createDecipheriv(ALGORITHM, key, nonce, OPTIONS);
  if (about.length > 0) decipher.setAAD(about);
  decipher.setAuthTag(ct.subarray(end));
  const plain = decipher.update(ct.subarray(0, end));
  decipher.final();
  return plain;
}
