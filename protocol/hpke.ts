/**
 * HPKE (RFC 9180) for one message to one public key: base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256
 * and AES-256-GCM. Only the holder of the private key can open it. HPKE does not say who sealed it: that
 * takes a signature.
 */
import { joinBytes, utf8 } from './bytes.ts';

const KEM = [0x00, 0x20];
const KDF = [0x00, 0x01];
const AEAD = [0x00, 0x02];
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const NOTHING = new Uint8Array();

type Bytes = Uint8Array<ArrayBuffer>;
type Soon<T> = T | Promise<T>;

/** Raw, 32 bytes each. */
export interface X25519Pair {
  publicKey: Uint8Array;
  /** Secret. */
  privateKey: Uint8Array;
}

/** What the platform's cryptography does for it. */
export interface HpkePlatform {
  generateX25519(): Soon<X25519Pair>;
  /** X25519 (RFC 7748), 32 bytes. Throws for a public key of small order. */
  x25519(privateKey: Uint8Array, publicKey: Uint8Array): Soon<Uint8Array>;
  /** HMAC-SHA-256; the key is not empty. */
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Soon<Uint8Array>;
  /** AES-256-GCM: key of 32 bytes, nonce of 12, associated data; the tag of 16 bytes is the end. */
  encrypt(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array, bytes: Uint8Array): Soon<Bytes>;
  /** Throws for any other ciphertext, key or associated data. */
  decrypt(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array, bytes: Uint8Array): Soon<Bytes>;
}

export interface Sealed {
  /** Public key made for this message, 32 bytes. */
  enc: Uint8Array;
  /** What is sealed, encrypted, and a tag of 16 bytes. */
  ct: Uint8Array;
}

interface Purpose {
  platform: HpkePlatform;
  /** Binds the message to its purpose: opening it takes the same `info`. */
  info: Uint8Array;
  /** Data that travels beside it and must not be changed. */
  associated?: Uint8Array;
}

/** Throws for a public key of small order. */
export async function sealTo(
  parts: Purpose & { publicKey: Uint8Array; message: Uint8Array },
): Promise<Sealed> {
  const { platform, info, associated = NOTHING, publicKey, message } = parts;
  const { publicKey: enc, privateKey } = await platform.generateX25519();
  const agreed = await platform.x25519(privateKey, publicKey);
  const { key, nonce } = await schedule(platform, agreed, joinBytes(enc, publicKey), info);
  return { enc, ct: await platform.encrypt(key, nonce, associated, message) };
}

/** Throws for what was not sealed to this key with the same `info` and `associated`. */
export async function openSealed(parts: Purpose & { pair: X25519Pair; sealed: Sealed }): Promise<Bytes> {
  const { platform, info, associated = NOTHING, pair, sealed } = parts;
  const agreed = await platform.x25519(pair.privateKey, sealed.enc);
  const { key, nonce } = await schedule(platform, agreed, joinBytes(sealed.enc, pair.publicKey), info);
  return platform.decrypt(key, nonce, associated, sealed.ct);
}

/** RFC 9180, 4.1 (`ExtractAndExpand`) and 5.1 (`KeySchedule` of base mode). */
async function schedule(platform: HpkePlatform, agreed: Uint8Array, kemContext: Bytes, info: Uint8Array) {
  const kem = labeledKdf(platform, joinBytes(utf8.encode('KEM'), KEM));
  const shared = await kem.expand(
    await kem.extract(NOTHING, 'eae_prk', agreed),
    'shared_secret',
    kemContext,
    KEY_BYTES,
  );
  const hpke = labeledKdf(platform, joinBytes(utf8.encode('HPKE'), KEM, KDF, AEAD));
  const psk = await hpke.extract(NOTHING, 'psk_id_hash', NOTHING);
  const context = joinBytes([0], psk, await hpke.extract(NOTHING, 'info_hash', info));
  const secret = await hpke.extract(shared, 'secret', NOTHING);
  return {
    key: await hpke.expand(secret, 'key', context, KEY_BYTES),
    nonce: await hpke.expand(secret, 'base_nonce', context, NONCE_BYTES),
  };
}

/** RFC 9180, 4: HKDF-SHA256 (RFC 5869) with labels. */
function labeledKdf({ hmacSha256 }: HpkePlatform, suite: Bytes) {
  const labeled = (label: string) => joinBytes(utf8.encode('HPKE-v1'), suite, utf8.encode(label));
  return {
    // HMAC fills a key up with zeros: the same as an empty salt, which WebCrypto does not take.
    extract: async (salt: Uint8Array, label: string, bytes: Uint8Array) =>
      hmacSha256(salt.length > 0 ? salt : new Uint8Array(KEY_BYTES), joinBytes(labeled(label), bytes)),
    /** `length` is at most 32: one block. */
    expand: async (key: Uint8Array, label: string, info: Bytes, length: number) =>
      (await hmacSha256(key, joinBytes([0, length], labeled(label), info, [1]))).slice(0, length),
  };
}
