/**
 * Ed25519 signatures of orders: one for each named device, one for a whole group. libsodium (`sodium-native`)
 * takes half as long as OpenSSL. If its binary does not load, node:crypto makes the same bytes (RFC 8032: key
 * and message alone determine a signature).
 */
import { type KeyObject, sign } from 'node:crypto';
import { createRequire } from 'node:module';

/** The signature of these bytes, 64 bytes. */
export type Signer = (message: Uint8Array) => Uint8Array;

interface Sodium {
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
}

/** The fastest implementation on this platform. */
export function createSigner(privateKey: KeyObject): Signer {
  return sodiumSigner(privateKey) ?? opensslSigner(privateKey);
}

/** `null` if there is no binary for this platform. */
export function sodiumSigner(privateKey: KeyObject): Signer | null {
  let sodium: Sodium;
  try {
    sodium = createRequire(import.meta.url)('sodium-native') as Sodium;
  } catch {
    // An optional dependency: not installed, or not built for this platform.
    return null;
  }
  const { d, x } = privateKey.export({ format: 'jwk' });
  // libsodium's form of a secret key: the seed followed by the public key.
  const secretKey = Buffer.concat([
    Buffer.from(d as string, 'base64url'),
    Buffer.from(x as string, 'base64url'),
  ]);
  return (message) => {
    const signature = Buffer.allocUnsafe(64);
    sodium.crypto_sign_detached(signature, message, secretKey);
    return signature;
  };
}

export function opensslSigner(privateKey: KeyObject): Signer {
  return (message) => sign(null, message, privateKey);
}
