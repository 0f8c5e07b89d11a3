/**
 * Names and keys of the devices. Number n always has the same ones, so nothing has to be stored or passed on.
 */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { createRequire } from 'node:module';
import { DeviceSecrets } from '../../admin-api/device-secrets.ts';
import { createMac } from '../../admin-api/message-code.ts';
import { encodeDeviceMessage, RESULT_KEY_BYTES, resultBytes } from '../../protocol/index.ts';

const PUBLIC_KEY_BYTES = 32;
/** OpenSSL ignores it when it makes a private key, and computes the right one itself. */
const ANY_PUBLIC_KEY = Buffer.alloc(PUBLIC_KEY_BYTES).toString('base64url');

export interface DeviceKey {
  /** Raw, 32 bytes. */
  publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

interface Sodium {
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
}

/**
 * Half the work of OpenSSL, which leaves more of the machine to the servers; optional, as for the servers.
 */
const sodium = loadSodium();

/** The secrets of all devices are derived from this. */
export const MASTER_SECRET = createHash('sha256').update('pushpoint bench master').digest();
const secrets = new DeviceSecrets(MASTER_SECRET);
const mac = createMac();

/** The key of a device's results. */
export function resultKey(number: number): Uint8Array {
  return mac(secrets.of(deviceId(number), 1), RESULT_KEY_BYTES);
}

/** A frame with the end of a command on a device with this result key. */
export function resultFrame(number: number, key: Uint8Array, id: string, body: Uint8Array): Uint8Array {
  return encodeDeviceMessage({
    t: 'result',
    id,
    body,
    mac: mac(key, resultBytes(deviceId(number), id, body)),
  });
}

/** Sorts as the numbers do. */
export function deviceId(number: number): string {
  return `bench-${String(number).padStart(7, '0')}`;
}

/** Derived from the device's own seed, which is a hash of its number. */
export function deviceKey(number: number): DeviceKey {
  const seed = createHash('sha256').update(`pushpoint bench ${number}`).digest();
  return sodium ? sodiumKey(sodium, seed) : opensslKey(seed);
}

function sodiumKey(lib: Sodium, seed: Uint8Array): DeviceKey {
  const publicKey = new Uint8Array(PUBLIC_KEY_BYTES);
  const secretKey = new Uint8Array(64);
  lib.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  return {
    publicKey,
    sign(message) {
      const signature = new Uint8Array(64);
      lib.crypto_sign_detached(signature, message, secretKey);
      return signature;
    },
  };
}

/** Avoids JWK exports: many of them hang Node.js 20 for good if one of the keys is collected meanwhile. */
function opensslKey(seed: Buffer): DeviceKey {
  const d = seed.toString('base64url');
  const key = createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d, x: ANY_PUBLIC_KEY }, format: 'jwk' });
  return {
    get publicKey() {
      const info = createPublicKey(key).export({ format: 'der', type: 'spki' });
      return new Uint8Array(info.subarray(-PUBLIC_KEY_BYTES));
    },
    sign: (message) => new Uint8Array(sign(null, message, key)),
  };
}

function loadSodium(): Sodium | null {
  try {
    return createRequire(import.meta.url)('sodium-native') as Sodium;
  } catch {
    return null;
  }
}
