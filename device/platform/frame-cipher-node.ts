import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import {
  LIMITS,
  SEAL_COUNTER_BYTES,
  SEAL_KEY_BYTES,
  sealNonce,
  type TunnelSide,
} from '../../protocol/index.ts';
import type { FrameCipher } from '../../tunnel/index.ts';

const AES = 'aes-256-gcm';
const ENDS_AT = -LIMITS.sealTagBytes;
/** A tunnel's cipher by OpenSSL: at once, which costs least at these sizes. */
export function nodeFrameCipher(key: Uint8Array, side: TunnelSide): FrameCipher {
  const other = side === 'device' ? 'operator' : 'device';
  return new NodeFrameCipher(keyOf(key, side), keyOf(key, other));
}

function keyOf(tunnelKey: Uint8Array, side: TunnelSide): KeyObject {
  const code = createHmac('sha512', tunnelKey).update(SEAL_KEY_BYTES[side]).digest();
  return createSecretKey(code.subarray(0, LIMITS.macBytes));
}

class NodeFrameCipher implements FrameCipher {
  readonly #own: KeyObject;
  readonly #other: KeyObject;

  constructor(own: KeyObject, other: KeyObject) {
    this.#own = own;
    this.#other = other;
  }

  seal(counter: number, frame: Uint8Array): Uint8Array[] {
    const nonce = sealNonce(counter);
    const cipher = createCipheriv(AES, this.#own, nonce);
    const encrypted = cipher.update(frame);
    cipher.final();
    return [nonce.subarray(-SEAL_COUNTER_BYTES), encrypted, cipher.getAuthTag()];
  }

  open(counter: number, message: Uint8Array): Uint8Array | null {
    const decipher = createDecipheriv(AES, this.#other, sealNonce(counter), {
      authTagLength: LIMITS.sealTagBytes,
    });
    decipher.setAuthTag(message.subarray(ENDS_AT));
    const frame = decipher.update(message.subarray(SEAL_COUNTER_BYTES, ENDS_AT));
    try {
      decipher.final();
    } catch {
      return null;
    }
    return frame;
  }
}
