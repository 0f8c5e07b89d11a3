import { joinBytes, utf8 } from './bytes.ts';
import { LIMITS } from './limits.ts';

/**
 * The bytes that are signed or authenticated (PROTOCOL.md, sections "Handshake", "Orders", "Results" and
 * "Secret commands"). All
 * signatures are Ed25519 (RFC 8032) over a context string, a zero byte, and the parts below; the context
 * keeps a signature made for one purpose from being used for another. Keys are raw: 32 bytes public,
 * base64url without padding in JSON.
 */
import type { GroupKeyName } from './messages.ts';

function signedBytes(context: string, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return joinBytes(utf8.encode(`pushpoint.v1 ${context}\0`), ...parts);
}

/**
 * What a device signs to prove who it is (H-4): the gateway's name binds the proof to the gateway that asked,
 * so that one gateway cannot use it at another.
 */
export function proofBytes(nonce: Uint8Array, gateway: string, device: string): Uint8Array<ArrayBuffer> {
  return signedBytes('prove', nonce, utf8.encode(`${gateway}\0${device}`));
}

/** What the administration server signs: the order's body exactly as it travels (S-1). */
export function orderBytes(body: Uint8Array): Uint8Array<ArrayBuffer> {
  return signedBytes('order', body);
}

/** What the administration server signs of a gateway's pass (S-9). */
export function passBytes(body: Uint8Array): Uint8Array<ArrayBuffer> {
  return signedBytes('pass', body);
}

/** What a device signs with both keys to replace the first by the second (K-6). */
export function keyRotationBytes(body: Uint8Array): Uint8Array<ArrayBuffer> {
  return signedBytes('rotate', body);
}

/** What a root key signs of the server keys (K-2). */
export function serverKeysBytes(body: Uint8Array): Uint8Array<ArrayBuffer> {
  return signedBytes('keys', body);
}

/** What the key of a token and the key of a device sign: the request's body as it travels (E-2). */
export function enrolBytes(body: Uint8Array): Uint8Array<ArrayBuffer> {
  return signedBytes('enroll', body);
}

/**
 * What the administration server signs of its answer (E-3); `request` is the request's hash (E-2), which
 * binds the answer to it.
 */
export function enrolledBytes(request: Uint8Array, body: Uint8Array): Uint8Array<ArrayBuffer> {
  return signedBytes('enrolled', request, body);
}

/** The `info` that the device secret is sealed with (E-3). */
export function sealedSecretBytes(request: Uint8Array): Uint8Array<ArrayBuffer> {
  return signedBytes('secret', request);
}

/** What the administration server signs of a refusal that ends an enrolment (E-6). */
export function refusedBytes(request: Uint8Array, code: string, detail: string): Uint8Array<ArrayBuffer> {
  return signedBytes('refused', request, utf8.encode(`${code}\0${detail}`));
}

/**
 * What a device signs when it asks where to go (G-16); `challenge` is the server's text, `nonce` the device's
 * own 32 bytes.
 */
export function locateBytes(nonce: Uint8Array, challenge: string, device: string): Uint8Array<ArrayBuffer> {
  return signedBytes('locate', nonce, utf8.encode(`${challenge}\0${device}`));
}

/**
 * What the administration server signs with its answer (G-16): these names, and the body of the list or
 * nothing, for this device, after this question.
 */
export function locatedBytes(
  nonce: Uint8Array,
  device: string,
  gateways: readonly string[],
  list: Uint8Array = new Uint8Array(),
): Uint8Array<ArrayBuffer> {
  const names = gateways.map((name) => `${name}\0`).join('');
  return signedBytes('located', nonce, utf8.encode(`${device}\0${names}\0`), list);
}

/**
 * Writes `lead` and then `part` to `into`, and returns that part of it. A server does this for every result;
 * a new array each time would cost as much as the MAC itself.
 */
function written(
  lead: string,
  part: Uint8Array,
  into: Uint8Array<ArrayBuffer> = new Uint8Array(AUTHENTICATED_BYTES_MAX),
): Uint8Array<ArrayBuffer> {
  const { written: length } = utf8.encodeInto(lead, into);
  into.set(part, length);
  return into.subarray(0, length + part.length);
}

/** Room for any of the bytes below. */
export const AUTHENTICATED_BYTES_MAX: number = LIMITS.resultBytes + 1024;

/**
 * What the administration server makes a device's secret from, with its master secret; `generation`
 * from 1 up. `into`, of `AUTHENTICATED_BYTES_MAX`, saves an allocation to a caller that is done with them at
 * once.
 */
export function deviceSecretBytes(
  device: string,
  generation: number,
  into?: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, generation);
  return written(`pushpoint.v1 device\0${device}\0`, number, into);
}

/** The MAC of these bytes by a device's secret is the key of its results and its status (B-5). */
export const RESULT_KEY_BYTES: Uint8Array<ArrayBuffer> = utf8.encode('result');

/**
 * What a device authenticates with that key: the `body` of a result as it travels. `into` as of
 * `deviceSecretBytes`.
 */
export function resultBytes(
  device: string,
  command: string,
  body: Uint8Array,
  into?: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return written(`pushpoint.v1 result\0${device}\0${command}\0`, body, into);
}

/** What a device authenticates with the same key of a status (B-5). `into` as of `deviceSecretBytes`. */
export function statusBytes(
  device: string,
  body: Uint8Array,
  into?: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return written(`pushpoint.v1 status\0${device}\0`, body, into);
}

/** The MACs of these bytes by a device's secret are its wrap key and its secret key. */
export const WRAP_KEY_BYTES: Uint8Array<ArrayBuffer> = utf8.encode('wrap');
export const SECRET_KEY_BYTES: Uint8Array<ArrayBuffer> = utf8.encode('secret');

/** Associated data of sealed arguments, by the key of a device or of a group. */
export function sealedArgsBytes(
  command: string,
  key: { device: string } | GroupKeyName,
): Uint8Array<ArrayBuffer> {
  const name = 'device' in key ? `device\0${key.device}` : `group\0${nameOf(key)}`;
  return signedBytes('sealed args', utf8.encode(`${command}\0${name}`));
}

/** Associated data of a group's key, sealed for a device. */
export function sealedKeyBytes(device: string, key: GroupKeyName): Uint8Array<ArrayBuffer> {
  return signedBytes('sealed key', utf8.encode(`${device}\0${nameOf(key)}`));
}

/** Associated data of the result of a secret command. */
export function sealedResultBytes(device: string, command: string): Uint8Array<ArrayBuffer> {
  return signedBytes('sealed result', utf8.encode(`${device}\0${command}`));
}

/** Associated data of a tunnel's key, sealed for its device (T-15). */
export function sealedTunnelBytes(device: string, tunnel: string): Uint8Array<ArrayBuffer> {
  return signedBytes('sealed tunnel', utf8.encode(`${device}\0${tunnel}`));
}

function nameOf({ group, epoch, number }: GroupKeyName): string {
  return `${group}\0${epoch}\0${number}`;
}
