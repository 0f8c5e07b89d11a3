/**
 * Ed25519 (RFC 8032) and HMAC-SHA-512 (RFC 2104) as the SDK needs them. Keys and signatures are raw bytes: 32
 * public, 32 private (the seed), 64 for a signature; so a key made by one implementation works in the other.
 */
export interface DeviceKey {
  publicKey: Uint8Array;
  /** The RFC 8032 seed. Secret. */
  privateKey: Uint8Array;
}

export interface DeviceCrypto {
  generate(): Promise<DeviceKey>;
  sign(privateKey: Uint8Array, bytes: Uint8Array): Promise<Uint8Array>;
  /** HMAC-SHA-512 cut to its first 32 bytes. */
  mac(key: Uint8Array, bytes: Uint8Array): Promise<Uint8Array>;
  /** `false` for whatever does not verify, a malformed key or signature included. */
  verify(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): Promise<boolean>;
}

/** What precedes the seed in PKCS #8 (RFC 8410 section 7). */
const PKCS8_HEAD = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/** What precedes the public key in SPKI (RFC 8410 section 4). */
const SPKI_HEAD = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

export function pkcs8(seed: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array([...PKCS8_HEAD, ...seed]);
}

export function spki(publicKey: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array([...SPKI_HEAD, ...publicKey]);
}

export function seedOfPkcs8(der: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(der.subarray(PKCS8_HEAD.length, PKCS8_HEAD.length + 32));
}
