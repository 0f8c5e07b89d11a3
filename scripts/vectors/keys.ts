/** Keys and constants that all vectors share. The seeds are public: never use them for anything else. */
import { Buffer } from 'node:buffer';
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { pkcs8, rawKey, type X25519Pair } from '../../protocol/index.ts';
import { hexOf } from './wire.ts';

export interface VectorKey {
  seed: Uint8Array;
  publicKey: Uint8Array;
  privateKey: KeyObject;
}

// PKCS #8 around a raw Ed25519 seed (RFC 8410).
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

function keyFromSeed(first: number): VectorKey {
  const seed = Uint8Array.from({ length: 32 }, (_, i) => first + i);
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_HEAD, seed]),
    format: 'der',
    type: 'pkcs8',
  });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { seed, publicKey: new Uint8Array(spki.subarray(-32)), privateKey };
}

export const DEVICE_KEY = keyFromSeed(0x00);
export const SERVER_KEY = keyFromSeed(0x40);
/** The next signing key, the root, and the next root. */
export const NEXT_KEY = keyFromSeed(0x60);
export const ROOT_KEY = keyFromSeed(0x20);
export const TOKEN_KEY = keyFromSeed(0xe0);
export const NEXT_ROOT_KEY = keyFromSeed(0xc0);

export function x25519FromSeed(first: number): X25519Pair {
  const privateKey = Uint8Array.from({ length: 32 }, (_, i) => first + i);
  const key = { key: Buffer.from(pkcs8('X25519', privateKey)), format: 'der', type: 'pkcs8' } as const;
  const spki = createPublicKey(createPrivateKey(key)).export({ format: 'der', type: 'spki' });
  return { publicKey: rawKey(spki), privateKey };
}

export function signWith(key: VectorKey, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, bytes, key.privateKey));
}

/** What the device shares with its administration server. */
export const SECRET = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
export const NONCE = Uint8Array.from({ length: 32 }, (_, i) => 0xa0 + i);
export const DEVICE = 'dev-7Q2m';
export const GATEWAY = 'gw1';
export const INSTALLATION = 'i7k2m5n4x1pq0w8z';
export const GATEWAYS = [
  { name: 'gw1', url: 'wss://gw1.example.net:13295' },
  { name: 'gw2', url: 'wss://gw2.example.net:13295' },
];
/** Names, as messages say them. */
export const NAMES = GATEWAYS.map(({ name }) => name);
export const GROUPS = ['root', 'berlin', 'kiosks'];
/** Id of the enrolment token. */
export const TOKEN = 'e3kx9';
/** A server's own text; here all zeros. */
export const CHALLENGE = 'A'.repeat(51);
/** 2026-11-22T10:00:00Z */
export const NOW = 1_795_341_600_000;

export function keyView(key: VectorKey) {
  return {
    seed: hexOf(key.seed),
    publicKey: hexOf(key.publicKey),
    publicKeyBase64url: Buffer.from(key.publicKey).toString('base64url'),
  };
}
