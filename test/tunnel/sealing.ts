/** An end of a tunnel by hand: it seals and opens frames, and does no more. */
import { createCipheriv, createHmac } from 'node:crypto';
import { nodeFrameCipher } from '../../device/platform/frame-cipher-node.ts';
import { sealCounter, sealedTunnelBytes, type TunnelSide, WRAP_KEY_BYTES } from '../../protocol/index.ts';
import type { FrameCipher } from '../../tunnel/index.ts';

export class SealingEnd {
  readonly #cipher: FrameCipher;
  counter = 0;

  constructor(key: Uint8Array, side: TunnelSide) {
    this.#cipher = nodeFrameCipher(key, side);
  }

  seal(frame: Uint8Array, counter = ++this.counter): Uint8Array {
    return Buffer.concat(this.#cipher.seal(counter, frame) as Uint8Array[]);
  }

  /** Throws for what the other end did not seal. */
  open(message: Uint8Array): Uint8Array {
    const frame = this.#cipher.open(sealCounter(message), message) as Uint8Array | null;
    if (frame === null) throw new Error('not sealed by the other end');
    return new Uint8Array(frame);
  }
}

/** The tunnel's key as `tunnel.open` has it for the device with this secret (T-15). */
export function wrapKey(
  { id, secret }: { id: string; secret: Uint8Array },
  tunnel: string,
  key: Uint8Array,
): string {
  const wrap = createHmac('sha512', secret).update(WRAP_KEY_BYTES).digest().subarray(0, 32);
  const nonce = Buffer.alloc(12, 7);
  const cipher = createCipheriv('aes-256-gcm', wrap, nonce).setAAD(sealedTunnelBytes(id, tunnel));
  const sealed = [nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat(sealed).toString('base64url');
}
