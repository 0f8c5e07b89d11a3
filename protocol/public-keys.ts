/**
 * Public keys that are refused everywhere (E-8). With a point of small order, a signature proves nothing and
 * everybody knows the shared secret. With an encoding that is not canonical, one key has two names. Raw, 32
 * bytes, little-endian.
 */
const P = 2n ** 255n - 19n;
/** The y of the points of order 8, which are four: with either sign, and either sign of x. */
const Y8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;

/** Whether this is an acceptable Ed25519 key: y below p, and not a point of small order (RFC 8032). */
export function isStrictEd25519(key: Uint8Array): boolean {
  // Without the sign of x: each y of small order is refused with either.
  const y = littleEndian(key) % 2n ** 255n;
  return isStrict(key, y, y, 1n);
}

/** Whether this is an acceptable X25519 key: u below p, and not a point of small order (RFC 7748). */
export function isStrictX25519(key: Uint8Array): boolean {
  const u = littleEndian(key);
  // On the other curve it has this y.
  return isStrict(key, u, u - 1n, u + 1n);
}

/** `y` over `z`: its coordinate on the Ed25519 curve. Those of order below 8 are the same on both curves. */
function isStrict({ length }: Uint8Array, coordinate: bigint, y: bigint, z: bigint): boolean {
  return length === 32 && coordinate > 1n && coordinate < P - 1n && (y * y - Y8 * Y8 * z * z) % P !== 0n;
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((number, byte) => number * 256n + BigInt(byte), 0n);
}
