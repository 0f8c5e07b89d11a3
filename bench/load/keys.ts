/** Names and keys of the devices: number n always has the same, so that nothing has to be kept or passed on. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

const PUBLIC_KEY_BYTES = 32;
/** OpenSSL takes it as it comes when it makes a private key, and works out the right one by itself. */
const ANY_PUBLIC_KEY = Buffer.alloc(PUBLIC_KEY_BYTES).toString('base64url');

/** Sorts as the numbers do. */
export function deviceId(number: number): string {
  return `bench-${String(number).padStart(7, '0')}`;
}

/** Made from a seed of the device's own, one hash away from its number. */
export function privateKey(number: number): KeyObject {
  const d = createHash('sha256').update(`pushpoint bench ${number}`).digest('base64url');
  return createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d, x: ANY_PUBLIC_KEY }, format: 'jwk' });
}

/** Raw, 32 bytes. Not by way of a JWK: exporting many hangs Node 20 for good when one of their keys is collected meanwhile. */
export function publicKey(key: KeyObject): Uint8Array {
  const info = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return new Uint8Array(info.subarray(-PUBLIC_KEY_BYTES));
}
