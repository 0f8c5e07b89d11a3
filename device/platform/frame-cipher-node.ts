import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import {
  LIMITS,
  SEAL_COUNTER_BYTES,
  SEAL_KEY_BYTES,
  sealNonce,
  TUNNEL_LIMITS,
  type TunnelSide,
} from '../../protocol/index.ts';
import type { FrameCipher } from '../../tunnel/index.ts';

const AES = 'aes-256-gcm';
const ENDS_AT = -LIMITS.sealTagBytes;
/**
 * OpenSSL gives its output in new memory each time: pieces of this size stay in the processor's cache until
 * they are copied, and are no work for the garbage collection.
 */
const PIECE_BYTES = 16 * 1024;

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
  readonly #opened = Buffer.allocUnsafeSlow(TUNNEL_LIMITS.messageBytes);

  constructor(own: KeyObject, other: KeyObject) {
    this.#own = own;
    this.#other = other;
  }

  seal(counter: number, frame: Uint8Array): Uint8Array {
    const nonce = sealNonce(counter);
    const cipher = createCipheriv(AES, this.#own, nonce);
    const message = Buffer.allocUnsafeSlow(frame.length + TUNNEL_LIMITS.sealBytes);
    message.set(nonce.subarray(-SEAL_COUNTER_BYTES));
    copyPieces(frame, message.subarray(SEAL_COUNTER_BYTES), (piece) => cipher.update(piece));
    cipher.final();
    message.set(cipher.getAuthTag(), message.length + ENDS_AT);
    return message;
  }

  open(counter: number, message: Uint8Array): Uint8Array | null {
    const sealed = message.subarray(SEAL_COUNTER_BYTES, ENDS_AT);
    const decipher = createDecipheriv(AES, this.#other, sealNonce(counter), {
      authTagLength: LIMITS.sealTagBytes,
    });
    decipher.setAuthTag(message.subarray(ENDS_AT));
    copyPieces(sealed, this.#opened, (piece) => decipher.update(piece));
    try {
      decipher.final();
    } catch {
      return null;
    }
    return this.#opened.subarray(0, sealed.length);
  }
}

function copyPieces(from: Uint8Array, to: Uint8Array, change: (piece: Uint8Array) => Uint8Array): void {
  for (let at = 0; at < from.length; at += PIECE_BYTES) {
    to.set(change(from.subarray(at, at + PIECE_BYTES)), at);
  }
}
