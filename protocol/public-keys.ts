/**
 * Public keys that are refused wherever one is taken (E-8): points of small order, under which a signature
 * says nothing and a shared secret is known to all, and encodings that are not the shortest of their point,
 * under which one key has two names. Raw, 32 bytes, little-endian.
 */
const P = (1n << 255n) - 19n;

const Y8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;

/** The y of Ed25519's eight points of small order (RFC 8032); each with either sign of x. */
const SMALL_ORDER_Y = new Set([0n, 1n, P - 1n, Y8, P - Y8]);

/** The u of the points of small order of Curve25519 and its twist (RFC 7748). */
const SMALL_ORDER_U = new Set([
  0n,
  1n,
  P - 1n,
  0x00b8495f16056286fdb1329ceb8d09da6ac49ff1fae35616aeb8413b7c7aebe0n,
  0x57119fd0dd4e22d8868e1c58c45c44045bef839c55b1d0b1248c50a3bc959c5fn,
]);

/** Whether this may be somebody's Ed25519 key: y below p, and no point of small order. */
export function isStrictEd25519(key: Uint8Array): boolean {
  return key.length === 32 && isStrict(littleEndian(key) & ((1n << 255n) - 1n), SMALL_ORDER_Y);
}

/** Whether this may be somebody's X25519 key: u below p, and no point of small order. */
export function isStrictX25519(key: Uint8Array): boolean {
  return key.length === 32 && isStrict(littleEndian(key), SMALL_ORDER_U);
}

function isStrict(coordinate: bigint, smallOrder: ReadonlySet<bigint>): boolean {
  return coordinate < P && !smallOrder.has(coordinate);
}

function littleEndian(bytes: Uint8Array): bigint {
  let number = 0n;
  for (let at = bytes.length - 1; at >= 0; at--) number = (number << 8n) | BigInt(bytes[at] as number);
  return number;
}
