import { hash } from 'node:crypto';
import { customAlphabet, nanoid } from 'nanoid';

/** Contains no letters that look like digits; an identifier begins with a letter (PROTOCOL.md F-6). */
const random = customAlphabet('0123456789abcdefghjkmnpqrstvwxyz', 15);

/** A new identifier: a letter for the kind of object, then 75 random bits. */
export function newId(letter: 'd' | 'e' | 'g' | 'i' | 'j' | 't'): string {
  return letter + random();
}

/** A new token of the API, with 192 random bits. */
export function newApiToken(): string {
  return `ppt_${nanoid(32)}`;
}

/** The stored form of a secret. Secrets are long and random, so nobody can search through SHA-256. */
export function hashSecret(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/**
 * Text from a device, made safe to show: control characters become spaces, and it is cut to `max` characters.
 * `fallback` replaces empty text.
 */
export function plainText(text: string | undefined, max: number, fallback: string): string {
  const plain = (text ?? '')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, ' ')
    .trim()
    .slice(0, max);
  return plain === '' ? fallback : plain;
}
