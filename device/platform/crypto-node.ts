import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import { LIMITS, pkcs8, rawKey, spki } from '../../protocol/index.ts';
import type { DeviceCrypto } from './crypto.ts';

// Creating a key object costs as much as using it: it is cached as long as the caller keeps the raw key's
// array.
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

/** Uses OpenSSL, synchronously: at these sizes faster than WebCrypto's thread pool. */
export const nodeCrypto: DeviceCrypto = {
  ...nodeHpke,
  async generate() {
    const pair = generateKeyPairSync('ed25519');
    return {
      publicKey: rawKey(pair.publicKey.export({ type: 'spki', format: 'der' })),
      privateKey: rawKey(pair.privateKey.export({ type: 'pkcs8', format: 'der' })),
    };
  },
  async sign(privateKey, bytes) {
    const key = cached(privateKeys, privateKey, () =>
      createPrivateKey({ key: Buffer.from(pkcs8('Ed25519', privateKey)), format: 'der', type: 'pkcs8' }),
    );
    return new Uint8Array(sign(null, bytes, key));
  },
  async sha256(bytes) {
    return new Uint8Array(createHash('sha256').update(bytes).digest());
  },
  async mac(key, bytes) {
    return new Uint8Array(createHmac('sha512', key).update(bytes).digest().subarray(0, LIMITS.macBytes));
  },
  async verify(publicKey, bytes, signature) {
    try {
      const key = cached(publicKeys, publicKey, () =>
        createPublicKey({ key: Buffer.from(spki('Ed25519', publicKey)), format: 'der', type: 'spki' }),
      );
      return verify(null, bytes, key, signature);
    } catch {
      // A key or signature that OpenSSL cannot read verifies nothing.
      return false;
    }
  },
};
