/** Raw keys of 32 bytes, and their DER forms (RFC 8410): PKCS #8 for a private key, SPKI for a public one. */
type Curve = 'Ed25519' | 'X25519';

/** The last byte of the object identifier 1.3.101.x. */
const CURVE_BYTE = { X25519: 0x6e, Ed25519: 0x70 };

export function pkcs8(curve: Curve, privateKey: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array([
    ...[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, CURVE_BYTE[curve], 4, 0x22, 4, 0x20],
    ...privateKey,
  ]);
}

export function spki(curve: Curve, publicKey: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array([0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, CURVE_BYTE[curve], 3, 0x21, 0, ...publicKey]);
}

/** The key inside either of them. */
export function rawKey(der: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(der.slice(-32));
}
