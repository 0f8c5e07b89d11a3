import { createHash } from 'node:crypto';
import { customAlphabet, nanoid } from 'nanoid';

/** No letters that look like digits; an identifier begins with a letter (PROTOCOL.md F-6). */
const random = customAlphabet('0123456789abcdefghjkmnpqrstvwxyz', 15);

/** A new identifier: 75 random bits after the letter that tells what it is of. */
export function newId(letter: 'd' | 'e' | 'g' | 'i' | 'j' | 't'): string {
  return letter + random();
}

/** A new token of the API, with 192 random bits. */
export function newApiToken(): string {
  return `ppt_${nanoid(32)}`;
}

/**
 * What is kept of a secret. Secrets are random and long, so one round of SHA-256 cannot be searched through.
 */
export function hashSecret(secret: string): Uint8Array {
  return createHash('sha256').update(secret).digest();
}

/**
 * Text that came from a device, made fit to be shown: control characters become spaces, and it is cut to
 * `max` characters. `fallback` stands in for nothing.
 */
export function plainText(text: string | undefined, max: number, fallback: string): string {
  const plain = (text ?? '')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, ' ')
    .trim()
    .slice(0, max);
  return plain === '' ? fallback : plain;
}
