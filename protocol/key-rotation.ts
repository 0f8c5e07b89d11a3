/** A device's request to replace its key (PROTOCOL.md, K-6). */
import { pack } from '#msgpack';
import { bytesOf, decodeMap, id, oneOf } from './fields.ts';
import { LIMITS } from './limits.ts';

export interface KeyRotation {
  device: string;
  /** Raw public keys, 32 bytes. */
  from: Uint8Array;
  to: Uint8Array;
}

export function encodeKeyRotation({ device, from, to }: KeyRotation): Uint8Array<ArrayBuffer> {
  return pack({ kind: 'rotate', device, from, to });
}

/** Signed or not. Throws `ProtocolError`. */
export function decodeKeyRotation(body: Uint8Array): KeyRotation {
  const fields = decodeMap(body, LIMITS.keyRotationBytes);
  oneOf(fields, 'kind', ['rotate']);
  return {
    device: id(fields, 'device'),
    from: bytesOf(fields, 'from', LIMITS.publicKeyBytes),
    to: bytesOf(fields, 'to', LIMITS.publicKeyBytes),
  };
}
