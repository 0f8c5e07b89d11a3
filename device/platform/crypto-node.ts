import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { LIMITS } from '../../protocol/index.ts';
import { type DeviceCrypto, pkcs8, seedOfPkcs8, spki } from './crypto.ts';

// Making a key object costs as much as using it: kept for as long as the caller keeps the raw key's array.
const privateKeys = new WeakMap<Uint8Array, KeyObject>();
const publicKeys = new WeakMap<Uint8Array, KeyObject>();

function cached(map: WeakMap<Uint8Array, KeyObject>, raw: Uint8Array, make: () => KeyObject): KeyObject {
  let key = map.get(raw);
  if (!key) {
    key = make();
    map.set(raw, key);
  }
  return key;
}

/** Ed25519 by OpenSSL: synchronous inside, which is faster than WebCrypto's thread pool at these sizes. */
export const nodeCrypto: DeviceCrypto = {
  async generate() {
    const pair = generateKeyPairSync('ed25519');
    const der = pair.publicKey.export({ type: 'spki', format: 'der' });
    return {
      publicKey: new Uint8Array(der.subarray(der.length - 32)),
      privateKey: seedOfPkcs8(pair.privateKey.export({ type: 'pkcs8', format: 'der' })),
    };
  },
  async sign(privateKey, bytes) {
    const key = cached(privateKeys, privateKey, () =>
      createPrivateKey({ key: Buffer.from(pkcs8(privateKey)), format: 'der', type: 'pkcs8' }),
    );
    return new Uint8Array(sign(null, bytes, key));
  },
  async mac(key, bytes) {
    return new Uint8Array(createHmac('sha512', key).update(bytes).digest().subarray(0, LIMITS.macBytes));
  },
  async verify(publicKey, bytes, signature) {
    try {
      const key = cached(publicKeys, publicKey, () =>
        createPublicKey({ key: Buffer.from(spki(publicKey)), format: 'der', type: 'spki' }),
      );
      return verify(null, bytes, key, signature);
    } catch {
      // A key or signature that OpenSSL cannot read verifies nothing.
      return false;
    }
  },
};
