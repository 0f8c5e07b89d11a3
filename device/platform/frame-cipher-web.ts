import { SEAL_COUNTER_BYTES, SEAL_KEY_BYTES, sealNonce, type TunnelSide } from '../../protocol/index.ts';
import type { MakeFrameCipher } from '../../tunnel/index.ts';
import { webCrypto } from './crypto-web.ts';

const AES = 'AES-GCM';

/** Ciphers of tunnels by WebCrypto: asynchronous, and not always in order. */
export const webFrameCipher: MakeFrameCipher = async (key, side) => {
  const { subtle } = globalThis.crypto;
  const keyOf = async (end: TunnelSide, use: 'encrypt' | 'decrypt') => {
    const raw = await webCrypto.mac(key, SEAL_KEY_BYTES[end]);
    return subtle.importKey('raw', new Uint8Array(raw), AES, false, [use]);
  };
  const own = await keyOf(side, 'encrypt');
  const other = await keyOf(side === 'device' ? 'operator' : 'device', 'decrypt');
  return {
    async seal(counter, frame) {
      const iv = sealNonce(counter);
      const sealed = await subtle.encrypt({ name: AES, iv }, own, new Uint8Array(frame));
      return [iv.subarray(-SEAL_COUNTER_BYTES), new Uint8Array(sealed)];
    },
    async open(counter, message) {
      const sealed = new Uint8Array(message.subarray(SEAL_COUNTER_BYTES));
      try {
        return new Uint8Array(await subtle.decrypt({ name: AES, iv: sealNonce(counter) }, other, sealed));
      } catch {
        // The only possible reason: it does not open.
        return null;
      }
    },
  };
};
