/**
 * How frames of a tunnel are sealed (T-14): a message is a counter (8 bytes), the frame encrypted by
 * AES-256-GCM, and the tag (16 bytes). Each direction has its own key, so a counter is used once with a key.
 */
import { utf8 } from './bytes.ts';
import { LIMITS } from './limits.ts';
import type { TunnelSide } from './tunnels.ts';

export const SEAL_COUNTER_BYTES = 8;

/** The MAC of these bytes by the tunnel's key is the key of what that end seals (T-14). */
export const SEAL_KEY_BYTES: Record<TunnelSide, Uint8Array<ArrayBuffer>> = {
  operator: utf8.encode('operator'),
  device: utf8.encode('device'),
};

/** The nonce of the frame with this counter: its last 8 bytes are what the message begins with. */
export function sealNonce(counter: number): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(LIMITS.sealNonceBytes);
  const view = new DataView(nonce.buffer);
  view.setUint32(nonce.length - 8, Math.floor(counter / 2 ** 32));
  view.setUint32(nonce.length - 4, counter % 2 ** 32);
  return nonce;
}

/** The counter of a message; 0, which no frame has, where there is none. */
export function sealCounter(message: Uint8Array): number {
  if (message.length < SEAL_COUNTER_BYTES + LIMITS.sealTagBytes) return 0;
  const view = new DataView(message.buffer, message.byteOffset, SEAL_COUNTER_BYTES);
  const counter = view.getUint32(0) * 2 ** 32 + view.getUint32(4);
  return Number.isSafeInteger(counter) ? counter : 0;
}
