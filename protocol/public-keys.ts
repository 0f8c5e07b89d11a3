/**
 * Public keys that are refused everywhere (E-8). With a point of small order, a signature proves nothing and
 * everybody knows the shared secret. With an encoding that is not canonical, one key has two names. Raw, 32
 * bytes, little-endian.
 */
const P = 2n ** 255n - 19n;
const Y8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
const U8A = 0x00b8495f16056286fdb1329ceb8d09da6ac49ff1fae35616aeb8413b7c7aebe0n;
const U8B = 0x57119fd0dd4e22d8868e1c58c45c44045bef839c55b1d0b1248c50a3bc959c5fn;

/** Whether this is an acceptable Ed25519 key: y below p, and not a point of small order (RFC 8032). */
export function isStrictEd25519(key: Uint8Array): boolean {
  // Without the sign of x: each y of small order is refused with either.
  return isStrict(key, littleEndian(key) % 2n ** 255n, [Y8, P - Y8]);
}

/** Whether this is an acceptable X25519 key: u below p, and not a point of small order (RFC 7748). */
export function isStrictX25519(key: Uint8Array): boolean {
  return isStrict(key, littleEndian(key), [U8A, U8B]);
}

/** `eight`: the coordinates of points of order 8; those of lower order are the same on both curves. */
function isStrict({ length }: Uint8Array, coordinate: bigint, eight: bigint[]): boolean {
  return length === 32 && coordinate > 1n && coordinate < P - 1n && !eight.includes(coordinate);
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((number, byte) => number * 256n + BigInt(byte), 0n);
}
