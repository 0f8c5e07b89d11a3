import type { HpkePlatform } from '../../protocol/index.ts';

/**
 * Ed25519 (RFC 8032) and HMAC-SHA-512 (RFC 2104) as the SDK needs them. Keys and signatures are raw bytes: 32
 * public, 32 private (the seed), 64 for a signature; so a key made by one implementation works in the other.
 */
export interface DeviceKey {
  publicKey: Uint8Array;
  /** The RFC 8032 seed. Secret. */
  privateKey: Uint8Array;
}

export interface DeviceCrypto extends HpkePlatform {
  generate(): Promise<DeviceKey>;
  sign(privateKey: Uint8Array, bytes: Uint8Array): Promise<Uint8Array>;
  /** 32 bytes. */
  sha256(bytes: Uint8Array): Promise<Uint8Array>;
  /** HMAC-SHA-512 cut to its first 32 bytes. */
  mac(key: Uint8Array, bytes: Uint8Array): Promise<Uint8Array>;
  /** `false` for anything that does not verify, including a malformed key or signature. */
  verify(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): Promise<boolean>;
}
