/** A tunnel's key as its device gets it (T-15), sealed frames (T-14), and messages that end a tunnel. */
import { Buffer } from 'node:buffer';
import { createCipheriv, createHmac } from 'node:crypto';
import {
  encodeHello,
  encodeOpen,
  encodeOpened,
  LIMITS,
  SEAL_COUNTER_BYTES,
  SEAL_KEY_BYTES,
  sealedTunnelBytes,
  sealNonce,
  type TunnelSide,
  WRAP_KEY_BYTES,
} from '../../protocol/index.ts';
import { DEVICE, SECRET } from './keys.ts';
import { hexOf } from './wire.ts';

const TUNNEL = 'u01jb3v8x5c0k2m5n9r3';
const KEY = Uint8Array.from({ length: 32 }, (_, i) => 0xc0 + i);
const WRAP_NONCE = Uint8Array.from({ length: 12 }, (_, i) => 0x10 + i);
const WRAP_KEY = mac(SECRET, WRAP_KEY_BYTES);
const SIDE_KEYS = { operator: mac(KEY, SEAL_KEY_BYTES.operator), device: mac(KEY, SEAL_KEY_BYTES.device) };
/** Beyond 32 bits. */
const FAR = 2 ** 40 + 5;

function mac(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha512', key).update(bytes).digest().subarray(0, LIMITS.macBytes));
}

function encrypt(key: Uint8Array, nonce: Uint8Array, bytes: Uint8Array, associated?: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  if (associated) cipher.setAAD(associated);
  return new Uint8Array(Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]));
}

function sealed(side: TunnelSide, counter: number, frame: Uint8Array): Uint8Array {
  const nonce = sealNonce(counter);
  const head = nonce.subarray(-SEAL_COUNTER_BYTES);
  return new Uint8Array(Buffer.concat([head, encrypt(SIDE_KEYS[side], nonce, frame)]));
}

const HELLO = encodeHello({ pair: 1, window: 524_288, highest: 0, streams: [] });

const frames: [name: string, side: TunnelSide, counter: number, frame: Uint8Array][] = [
  ["the operator's HELLO", 'operator', 1, HELLO],
  ["the device's HELLO", 'device', 1, HELLO],
  ["the operator's OPEN, after frames that were dropped", 'operator', 7, encodeOpen(1, '127.0.0.1', 22)],
  ["the device's OPENED, beyond 32 bits", 'device', FAR, encodeOpened(1)],
];

function changed(message: Uint8Array, at: number): Uint8Array {
  const other = Uint8Array.from(message);
  const index = at < 0 ? message.length + at : at;
  other[index] = (other[index] ?? 0) ^ 1;
  return other;
}

/** As the device receives them, after the counter `heard`. */
const refused: [name: string, heard: number, message: Uint8Array][] = [
  ['nothing', 0, new Uint8Array()],
  ['shorter than counter and tag', 0, sealed('operator', 1, HELLO).subarray(0, 23)],
  ['a frame that is not sealed', 0, HELLO],
  ['counter 0', 0, sealed('operator', 0, HELLO)],
  ['a counter of 2^53', 0, sealed('operator', 2 ** 53, HELLO)],
  ['the same counter again', 1, sealed('operator', 1, HELLO)],
  ['a smaller counter', 7, sealed('operator', 6, HELLO)],
  ['another counter', 0, changed(sealed('operator', 6, HELLO), 7)],
  ['a changed frame', 0, changed(sealed('operator', 1, HELLO), 8)],
  ['a changed tag', 0, changed(sealed('operator', 1, HELLO), -1)],
  ['cut by a byte', 0, sealed('operator', 1, HELLO).subarray(0, -1)],
  ['what the device sealed itself', 0, sealed('device', 1, HELLO)],
];

export function tunnelSealVectors() {
  const associated = sealedTunnelBytes(DEVICE, TUNNEL);
  const wrapped = Buffer.concat([WRAP_NONCE, encrypt(WRAP_KEY, WRAP_NONCE, KEY, associated)]);
  return {
    tunnelKey: {
      device: DEVICE,
      tunnel: TUNNEL,
      wrap: hexOf(WRAP_KEY),
      associatedData: hexOf(associated),
      wrapped: wrapped.toString('base64url'),
      key: hexOf(KEY),
      operatorKey: hexOf(SIDE_KEYS.operator),
      deviceKey: hexOf(SIDE_KEYS.device),
    },
    sealedTunnelFrames: frames.map(([name, side, counter, frame]) => ({
      name,
      by: side,
      counter,
      frame: hexOf(frame),
      message: hexOf(sealed(side, counter, frame)),
    })),
    refusedSealedFrames: refused.map(([name, heard, message]) => ({
      name,
      heard,
      message: hexOf(message),
      rule: 'T-14',
    })),
  };
}
