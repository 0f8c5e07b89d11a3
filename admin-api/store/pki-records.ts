/**
 * What the store keeps of the internal authority: its keys, the certificates it issued to gateways, and the
 * rights to join. Times are milliseconds since the Unix epoch.
 */
import type { Page, PageRequest } from './records.ts';

/**
 * `next`: trusted, and not used yet. `current`: it signs; there is one. `old`: still trusted, no longer used.
 */
export const AUTHORITY_STATES = ['next', 'current', 'old'] as const;
export type AuthorityState = (typeof AUTHORITY_STATES)[number];

export interface Authority {
  /** Counts from 1, and is never used twice. */
  number: number;
  state: AuthorityState;
  /** X.509 in DER. */
  certificate: Uint8Array;
  /** Private key, PKCS #8, sealed by the `SecretBox`. */
  sealedKey: string;
  createdAt: number;
  expiresAt: number;
}

export interface GatewayCertificate {
  /** Serial number of the certificate, hexadecimal. */
  serial: string;
  gateway: string;
  /** SHA-256 of its public key (SubjectPublicKeyInfo in DER), 32 bytes. */
  keyHash: Uint8Array;
  /** Number of the authority that signed it. */
  authority: number;
  issuedAt: number;
  expiresAt: number;
  revokedAt: number | null;
}

export interface JoinToken {
  id: string;
  /** Name of the gateway that it lets in. */
  gateway: string;
  /** Raw Ed25519 public key of the token's seed, 32 bytes. */
  publicKey: Uint8Array;
  expiresAt: number;
  createdAt: number;
  createdBy: string;
  revokedAt: number | null;
  usedAt: number | null;
}

export interface Authorities {
  /** In the order of their numbers. */
  all(): Promise<Authority[]>;
  /** `false` when there is one with this number. */
  create(authority: Authority): Promise<boolean>;
  setState(number: number, state: AuthorityState): Promise<void>;
  setSealedKey(number: number, sealedKey: string): Promise<void>;
  delete(number: number): Promise<void>;
  /** In a transaction that will change authorities: nobody else changes them until it ends. */
  lock(): Promise<void>;
}

export interface Revocation {
  gateway: string;
  /** The last. */
  at: number;
  /** It has no certificate that was not revoked. */
  all: boolean;
}

export interface GatewayCertificates {
  create(certificate: GatewayCertificate): Promise<void>;
  get(serial: string): Promise<GatewayCertificate | null>;
  /** The newest first. */
  ofGateway(gateway: string): Promise<GatewayCertificate[]>;
  /** Those of all gateways that are not over at `now`, revoked ones included. */
  unexpired(now: number): Promise<GatewayCertificate[]>;
  /** Those that are not revoked yet; resolves with their serials. */
  revoke(gateway: string, at: number): Promise<string[]>;
  /** Of gateways that had certificates revoked, in the order of their names. */
  revocations(): Promise<Revocation[]>;
  /** Those of the gateway that were issued since. */
  countSince(gateway: string, issuedAt: number): Promise<number>;
  /**
   * Deletes those that ended before; resolves with how many. Of a revoked gateway the last one stays: it is
   * never forgotten that it was revoked.
   */
  prune(expiredBefore: number): Promise<number>;
}

export type JoinTokenRefusal = 'unknown' | 'revoked' | 'expired' | 'used-up';

export interface JoinTokens {
  create(token: JoinToken): Promise<void>;
  get(id: string): Promise<JoinToken | null>;
  list(page: PageRequest): Promise<Page<JoinToken>>;
  /**
   * Uses it for the key with this hash (32 bytes). The same key may ask again, as its answer may have been
   * lost, for the certificate that it got; any other key is refused.
   */
  use(id: string, keyHash: Uint8Array, now: number): Promise<JoinToken | { refused: JoinTokenRefusal }>;
  revoke(id: string, at: number): Promise<boolean>;
  /** Those of the gateway that could still be used; resolves with their ids. */
  revokeOpen(gateway: string, at: number): Promise<string[]>;
}
