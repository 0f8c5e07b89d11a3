import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
} from 'node:crypto';
import { decryptGcm, encryptGcm } from './aes-gcm-node.ts';
import type { HpkePlatform } from './hpke.ts';
import { pkcs8, rawKey, spki } from './raw-keys.ts';

/** By OpenSSL, for programs of Node only: the index of the protocol, which browsers load, lacks it. */
export const nodeHpke: HpkePlatform = {
  generateX25519() {
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    return {
      publicKey: rawKey(publicKey.export({ format: 'der', type: 'spki' })),
      privateKey: rawKey(privateKey.export({ format: 'der', type: 'pkcs8' })),
    };
  },
  x25519(privateKey, publicKey) {
    const own = { key: Buffer.from(pkcs8('X25519', privateKey)), format: 'der', type: 'pkcs8' } as const;
    const theirs = { key: Buffer.from(spki('X25519', publicKey)), format: 'der', type: 'spki' } as const;
    return diffieHellman({ privateKey: createPrivateKey(own), publicKey: createPublicKey(theirs) });
  },
  hmacSha256(key, bytes) {
    return createHmac('sha256', key).update(bytes).digest();
  },
  encrypt(key, nonce, associated, bytes) {
    return new Uint8Array(Buffer.concat(encryptGcm(key, nonce, bytes, associated)));
  },
  decrypt(key, nonce, associated, bytes) {
    return new Uint8Array(decryptGcm(key, nonce, bytes, associated));
  },
};
