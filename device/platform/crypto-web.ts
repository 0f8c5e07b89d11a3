import { LIMITS, pkcs8, rawKey } from '../../protocol/index.ts';
import type { DeviceCrypto, DeviceKey } from './crypto.ts';

const ED25519 = { name: 'Ed25519' };
const X25519 = { name: 'X25519' };
const AES = 'AES-GCM';

type KeyUse = Parameters<typeof globalThis.crypto.subtle.generateKey>[2][number];

/** Uses WebCrypto (Chrome 137, Firefox 130, Safari 17, and Node). */
export const webCrypto: DeviceCrypto = {
  async generate() {
    return makePair(ED25519, ['sign', 'verify']);
  },
  async sign(privateKey, bytes) {
    const { subtle } = globalThis.crypto;
    const key = await subtle.importKey('pkcs8', pkcs8('Ed25519', privateKey), ED25519, false, ['sign']);
    return new Uint8Array(await subtle.sign(ED25519, key, new Uint8Array(bytes)));
  },
  async sha256(bytes) {
    return new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', new Uint8Array(bytes)));
  },
  async mac(raw, bytes) {
    return (await hmac('SHA-512', raw, bytes)).slice(0, LIMITS.macBytes);
  },
  async verify(publicKey, bytes, signature) {
    const { subtle } = globalThis.crypto;
    try {
      const key = await subtle.importKey('raw', new Uint8Array(publicKey), ED25519, false, ['verify']);
      return await subtle.verify(ED25519, key, new Uint8Array(signature), new Uint8Array(bytes));
    } catch {
      // A key that cannot be imported verifies nothing.
      return false;
    }
  },
  generateX25519() {
    return makePair(X25519, ['deriveBits']);
  },
  async x25519(privateKey, publicKey) {
    const { subtle } = globalThis.crypto;
    const own = await subtle.importKey('pkcs8', pkcs8('X25519', privateKey), X25519, false, ['deriveBits']);
    const theirs = await subtle.importKey('raw', new Uint8Array(publicKey), X25519, false, []);
    return new Uint8Array(await subtle.deriveBits({ ...X25519, public: theirs }, own, 256));
  },
  hmacSha256(key, bytes) {
    return hmac('SHA-256', key, bytes);
  },
  async encrypt(key, ...rest) {
    return gcm('encrypt', key, ...rest);
  },
  async decrypt(key, ...rest) {
    return gcm('decrypt', key, ...rest);
  },
};

async function makePair(algorithm: { name: string }, usages: KeyUse[]): Promise<DeviceKey> {
  const { subtle } = globalThis.crypto;
  const pair = await subtle.generateKey(algorithm, true, usages);
  if (!('privateKey' in pair)) throw new Error(`this browser makes no ${algorithm.name} key pairs`);
  return {
    publicKey: new Uint8Array(await subtle.exportKey('raw', pair.publicKey)),
    privateKey: rawKey(new Uint8Array(await subtle.exportKey('pkcs8', pair.privateKey))),
  };
}

async function hmac(hash: string, raw: Uint8Array, bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const { subtle } = globalThis.crypto;
  const key = await subtle.importKey('raw', new Uint8Array(raw), { name: 'HMAC', hash }, false, ['sign']);
  return new Uint8Array(await subtle.sign('HMAC', key, new Uint8Array(bytes)));
}

async function gcm(
  use: 'encrypt' | 'decrypt',
  raw: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  bytes: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  const { subtle } = globalThis.crypto;
  const key = await subtle.importKey('raw', new Uint8Array(raw), AES, false, [use]);
  const how = { name: AES, iv: new Uint8Array(nonce), additionalData: new Uint8Array(associated) };
  return new Uint8Array(await subtle[use](how, key, new Uint8Array(bytes)));
}
