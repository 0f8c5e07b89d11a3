import { LIMITS } from '../../protocol/index.ts';
import { type DeviceCrypto, pkcs8, seedOfPkcs8 } from './crypto.ts';

const ED25519 = { name: 'Ed25519' };
const HMAC = { name: 'HMAC', hash: 'SHA-512' };

/** Ed25519 and HMAC by WebCrypto (Chrome 137, Firefox 129, Safari 17, and Node). */
export const webCrypto: DeviceCrypto = {
  async generate() {
    const { subtle } = globalThis.crypto;
    const pair = await subtle.generateKey(ED25519, true, ['sign', 'verify']);
    if (!('privateKey' in pair)) throw new Error('this browser makes no Ed25519 key pairs');
    return {
      publicKey: new Uint8Array(await subtle.exportKey('raw', pair.publicKey)),
      privateKey: seedOfPkcs8(new Uint8Array(await subtle.exportKey('pkcs8', pair.privateKey))),
    };
  },
  async sign(privateKey, bytes) {
    const { subtle } = globalThis.crypto;
    const key = await subtle.importKey('pkcs8', pkcs8(privateKey), ED25519, false, ['sign']);
    return new Uint8Array(await subtle.sign(ED25519, key, new Uint8Array(bytes)));
  },
  async mac(raw, bytes) {
    const { subtle } = globalThis.crypto;
    const key = await subtle.importKey('raw', new Uint8Array(raw), HMAC, false, ['sign']);
    return new Uint8Array(await subtle.sign('HMAC', key, new Uint8Array(bytes))).slice(0, LIMITS.macBytes);
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
};
