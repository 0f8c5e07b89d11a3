/** A device's request to replace its key (PROTOCOL.md, K-6). */
import { pack } from '#msgpack';
import { bytesOf, decodeMap, id, integer, oneOf } from './fields.ts';
import { LIMITS, SERVER_LIMITS } from './limits.ts';

export interface KeyRotation {
  device: string;
  /** Raw public keys, 32 bytes. */
  from: Uint8Array;
  to: Uint8Array;
  /** Raw X25519 public key made for this request, 32 bytes. */
  sealTo: Uint8Array;
  /** Of the device secret that the device has. */
  generation: number;
}

export function encodeKeyRotation(rotation: KeyRotation): Uint8Array<ArrayBuffer> {
  const { device, from, to, sealTo, generation } = rotation;
  return pack({ kind: 'rotate', device, from, to, sealTo, generation });
}

/** Signed or not. Throws `ProtocolError`. */
export function decodeKeyRotation(body: Uint8Array): KeyRotation {
  const fields = decodeMap(body, SERVER_LIMITS.keyRotationBytes);
  oneOf(fields, 'kind', ['rotate']);
  return {
    device: id(fields, 'device'),
    from: bytesOf(fields, 'from', LIMITS.publicKeyBytes),
    to: bytesOf(fields, 'to', LIMITS.publicKeyBytes),
    sealTo: bytesOf(fields, 'sealTo', LIMITS.publicKeyBytes),
    generation: integer(fields, 'generation', 1),
  };
}
