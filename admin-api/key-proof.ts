import { createPublicKey, verify } from 'node:crypto';
import { LIMITS } from '../protocol/index.ts';

/**
 * Whether `proof` is the signature of `bytes` by this key: Ed25519 (RFC 8032). An invalid key verifies
 * nothing.
 */
export function holdsKey(publicKey: Uint8Array, bytes: Uint8Array, proof: Uint8Array): boolean {
  if (publicKey.length !== LIMITS.publicKeyBytes || proof.length !== LIMITS.signatureBytes) return false;
  try {
    const x = Buffer.from(publicKey).toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    return verify(null, bytes, key, proof);
  } catch {
    return false;
  }
}
