/**
 * Tokens as people pass them on (E-1): who may enrol or join, and which installation to trust. The seed never
 * travels: whoever holds the token signs with the key made from it.
 */
import { fromBase64url, toBase64url } from './base64url.ts';
import { ID_PATTERN } from './limits.ts';

/** What a token is for: a device that enrols, a gateway that joins, or an administration server. */
export type TokenKind = 'pp1' | 'ppg1' | 'pps1';

export interface TokenParts {
  /** How the server knows the token. */
  id: string;
  /** Of an Ed25519 key, 32 bytes (RFC 8032). Secret. */
  seed: Uint8Array;
  /** Of the installation: SHA-256 of its root key, 32 bytes. */
  fingerprint: Uint8Array;
}

export function tokenText(kind: TokenKind, { id, seed, fingerprint }: TokenParts): string {
  return `${kind}.${id}.${toBase64url(seed)}.${toBase64url(fingerprint)}`;
}

/** Spaces and line ends around it do not matter. `null`: no token of this kind. */
export function parseToken(kind: TokenKind, text: string): TokenParts | null {
  const [head, id = '', seed, fingerprint, ...more] = text.trim().split('.');
  if (head !== kind || !ID_PATTERN.test(id) || more.length > 0) return null;
  try {
    return { id, seed: fromBase64url(seed, 32), fingerprint: fromBase64url(fingerprint, 32) };
  } catch {
    return null;
  }
}

/** The fingerprint of an installation as text (K-2); `null` for any other text. */
export function parseFingerprint(text: string): Uint8Array | null {
  try {
    return fromBase64url(text.trim(), 32);
  } catch {
    return null;
  }
}
