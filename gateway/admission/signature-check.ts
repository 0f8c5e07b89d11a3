/**
 * Ed25519 verification, the most expensive step of an admission. libsodium (`sodium-native`) takes half as
 * long as OpenSSL and needs no key object. Where its binary does not load, node:crypto takes its place.
 */
import { createPublicKey, verify } from 'node:crypto';
import { createRequire } from 'node:module';

/**
 * Whether `signature` (64 bytes) over `message` is by the holder of `publicKey` (raw, 32 bytes). Never
 * throws.
 */
export type SignatureCheck = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;

interface Sodium {
  crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
}

/** The fastest implementation on this platform. */
export function createSignatureCheck(): SignatureCheck {
  return sodiumCheck() ?? opensslCheck;
}

/** `null` where there is no binary for this platform. */
export function sodiumCheck(): SignatureCheck | null {
  let sodium: Sodium;
  try {
    sodium = createRequire(import.meta.url)('sodium-native') as Sodium;
  } catch {
    // An optional dependency: not installed, or not built for this platform.
    return null;
  }
  return (signature, message, publicKey) => {
    // The library throws for any other length.
    if (signature.length !== 64 || publicKey.length !== 32) return false;
    return sodium.crypto_sign_verify_detached(signature, message, publicKey);
  };
}

export const opensslCheck: SignatureCheck = (signature, message, publicKey) => {
  try {
    // Making the key from a JWK costs a tenth of parsing DER.
    const key = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey).toString('base64url') },
      format: 'jwk',
    });
    return verify(null, message, key, signature);
  } catch {
    // An invalid key verifies nothing.
    return false;
  }
};
