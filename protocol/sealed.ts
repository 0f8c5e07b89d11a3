/** Secret commands on the wire (PROTOCOL.md, section "Secret commands"). */
import { pack } from '#msgpack';
import { bytesOf, decode, type Fields, id, integer, isGiven, mapOf } from './fields.ts';
import { ProtocolError } from './frame-scan.ts';
import type { HpkePlatform } from './hpke.ts';
import { LIMITS } from './limits.ts';
import type { Encrypted, GroupKeyName, SealedArgs } from './messages.ts';

/** `min` and `max` are bytes of the plaintext. Throws `ProtocolError`. */
export function sealedFields(fields: Fields, min: number, max = min): Encrypted {
  const { sealNonceBytes, sealTagBytes } = LIMITS;
  return {
    nonce: bytesOf(fields, 'nonce', sealNonceBytes),
    ct: bytesOf(fields, 'ct', min + sealTagBytes, max + sealTagBytes),
  };
}

/** Throws `ProtocolError`. */
export function groupKeyName(fields: Fields): GroupKeyName {
  return {
    group: id(fields, 'group'),
    epoch: integer(fields, 'epoch', 1),
    number: integer(fields, 'number', 1),
  };
}

/** `sealed` of a command order. Throws `ProtocolError`. */
export function sealedArgs(value: unknown): SealedArgs {
  const fields = mapOf(value, 'sealed');
  const { key } = fields;
  return {
    ...(isGiven(key) && { key: groupKeyName(mapOf(key, 'key')) }),
    ...sealedFields(fields, 1, LIMITS.argsBytes),
  };
}

/** Arguments in the form that is sealed. Throws `ProtocolError` for arguments that no order may have. */
export function encodeArgs(args: unknown): Uint8Array<ArrayBuffer> {
  const bytes = pack(args ?? null);
  decodeArgs(bytes);
  return bytes;
}

/** Arguments that were sealed. Throws `ProtocolError`. */
export function decodeArgs(bytes: Uint8Array): unknown {
  if (bytes.length > LIMITS.argsBytes) {
    throw new ProtocolError('S-3', `args: at most ${LIMITS.argsBytes} bytes`);
  }
  return decode(bytes, LIMITS.depth);
}

/** Encrypted with a random nonce; `about` is the associated data. */
export async function encryptSecret(
  { encrypt }: Pick<HpkePlatform, 'encrypt'>,
  key: Uint8Array,
  plain: Uint8Array,
  about: Uint8Array,
): Promise<Encrypted> {
  const nonce = globalThis.crypto.getRandomValues(new Uint8Array(LIMITS.sealNonceBytes));
  return { nonce, ct: await encrypt(key, nonce, about, plain) };
}

/** `null` if it was not encrypted with this key and this associated data. */
export async function decryptSecret(
  { decrypt }: Pick<HpkePlatform, 'decrypt'>,
  key: Uint8Array,
  { nonce, ct }: Encrypted,
  about: Uint8Array,
): Promise<Uint8Array | null> {
  try {
    return await decrypt(key, nonce, about, ct);
  } catch {
    // Another key, other associated data, or bytes that were changed on the way.
    return null;
  }
}
