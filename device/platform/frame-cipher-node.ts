import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { decryptGcm, encryptGcm } from '../../protocol/aes-gcm-node.ts';
import {
  LIMITS,
  SEAL_COUNTER_BYTES,
  SEAL_KEY_BYTES,
  sealNonce,
  type TunnelSide,
} from '../../protocol/index.ts';
import type { FrameCipher } from '../../tunnel/index.ts';

/** A tunnel's cipher by OpenSSL, synchronously, which costs least at these sizes. */
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
    const [encrypted, tag] = encryptGcm(this.#own, nonce, frame);
    return [nonce.subarray(-SEAL_COUNTER_BYTES), encrypted, tag];
  }

  open(counter: number, message: Uint8Array): Uint8Array | null {
    try {
      return decryptGcm(this.#other, sealNonce(counter), message.subarray(SEAL_COUNTER_BYTES));
    } catch {
      // The only reason it has: it does not open.
      return null;
    }
  }
}
