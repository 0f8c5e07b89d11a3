/** A one-use token with which a gateway joins, as text: `ppg1.ID.SEED.FINGERPRINT`, base64url. */
import { ID_PATTERN } from '../protocol/index.ts';

const PREFIX = 'ppg1';
const KEY_BYTES = 32;

export interface JoinToken {
  id: string;
  /** Ed25519 seed, 32 bytes; secret. The server keeps its public key only. */
  seed: Uint8Array;
  /** Of the installation: SHA-256 of its root key, 32 bytes. */
  fingerprint: Uint8Array;
}

export function joinTokenText({ id, seed, fingerprint }: JoinToken): string {
  return [PREFIX, id, base64url(seed), base64url(fingerprint)].join('.');
}

/** `null` for text that is no join token. */
export function parseJoinToken(text: string): JoinToken | null {
  const [prefix, id = '', seed = '', fingerprint = '', ...more] = text.trim().split('.');
  if (prefix !== PREFIX || more.length > 0 || !ID_PATTERN.test(id)) return null;
  const token = { id, seed: parseFingerprint(seed), fingerprint: parseFingerprint(fingerprint) };
  return token.seed === null || token.fingerprint === null ? null : (token as JoinToken);
}

/** 32 bytes as base64url; `null` for any other text. */
export function parseFingerprint(text: string): Uint8Array | null {
  const bytes = Buffer.from(text.trim(), 'base64url');
  return bytes.length === KEY_BYTES && base64url(bytes) === text.trim() ? new Uint8Array(bytes) : null;
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
