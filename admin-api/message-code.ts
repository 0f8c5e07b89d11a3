/**
 * Message authentication codes: HMAC-SHA-512 cut to its first 32 bytes, libsodium's `crypto_auth`. A
 * result needs one, and two more for a key that is not kept (`result-keys.ts`). All three take 5 µs for 200
 * bytes with libsodium (`sodium-native`) and 11 with node:crypto, where an Ed25519 check takes 58.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createRequire } from 'node:module';
import { LIMITS } from '../protocol/index.ts';

/** The code of these bytes by a key of 32 bytes. `into`, of 32 bytes, saves an allocation. */
export type Mac = (key: Uint8Array, bytes: Uint8Array, into?: Uint8Array) => Uint8Array;

interface Sodium {
  crypto_auth(out: Uint8Array, input: Uint8Array, key: Uint8Array): void;
}

/** The fastest implementation on this platform. */
export function createMac(): Mac {
  return sodiumMac() ?? opensslMac;
}

/** `null` if there is no binary for this platform. */
export function sodiumMac(): Mac | null {
  let sodium: Sodium;
  try {
    sodium = createRequire(import.meta.url)('sodium-native') as Sodium;
  } catch {
    // An optional dependency: not installed, or not built for this platform.
    return null;
  }
  return (key, bytes, into = Buffer.allocUnsafe(LIMITS.macBytes)) => {
    sodium.crypto_auth(into, bytes, key);
    return into;
  };
}

export const opensslMac: Mac = (key, bytes) =>
  createHmac('sha512', key).update(bytes).digest().subarray(0, LIMITS.macBytes);

/** In constant time. */
export function sameMac(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}
