/**
 * The store's records of the internal authority: its keys, the certificates that it issued, and join tokens.
 * `gateway` is a gateway's name, or `serverSubject` of an administration server's (`bus/subjects.ts`). Times
 * are milliseconds since the Unix epoch.
 */
import type { Page, PageRequest } from './records.ts';

/** `next`: trusted, but not used yet. `current`: the one that signs. `old`: still trusted, no longer used. */
export const AUTHORITY_STATES = ['next', 'current', 'old'] as const;
export type AuthorityState = (typeof AUTHORITY_STATES)[number];

export interface Authority {
  /** Counts from 1, never used twice. */
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
  /** Who may join with it. */
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
  /** Ordered by number. */
  all(): Promise<Authority[]>;
  /** `false` if one with this number exists. */
  create(authority: Authority): Promise<boolean>;
  setState(number: number, state: AuthorityState): Promise<void>;
  setSealedKey(number: number, sealedKey: string): Promise<void>;
  delete(number: number): Promise<void>;
  /** Locks all authorities: nobody else changes them until the transaction ends. */
  lock(): Promise<void>;
}

export interface Revocation {
  gateway: string;
  /** The last. */
  at: number;
  /** Whether all its certificates were revoked. */
  all: boolean;
}

export interface GatewayCertificates {
  create(certificate: GatewayCertificate): Promise<void>;
  get(serial: string): Promise<GatewayCertificate | null>;
  /** Newest first. */
  ofServers(): Promise<GatewayCertificate[]>;
  /** Newest first. */
  ofGateway(gateway: string): Promise<GatewayCertificate[]>;
  /** Certificates of all gateways that have not expired at `now`, revoked ones included. */
  unexpired(now: number): Promise<GatewayCertificate[]>;
  /** Revokes those that are not revoked yet; resolves with their serials. */
  revoke(gateway: string, at: number): Promise<string[]>;
  /** Gateways that had certificates revoked, ordered by name. */
  revocations(): Promise<Revocation[]>;
  /** Certificates of the gateway that were issued since then. */
  countSince(gateway: string, issuedAt: number): Promise<number>;
  /**
   * Deletes those that expired before then; resolves with how many. The last one of a revoked gateway stays,
   * so that its revocation is never forgotten.
   */
  prune(expiredBefore: number): Promise<number>;
}

export type JoinTokenRefusal = 'unknown' | 'revoked' | 'expired' | 'used-up';

export interface JoinTokens {
  create(token: JoinToken): Promise<void>;
  get(id: string): Promise<JoinToken | null>;
  /** Those of gateways, or of administration servers. */
  list(page: PageRequest, of: 'gateways' | 'servers'): Promise<Page<JoinToken>>;
  /**
   * Uses it for the request with this hash (32 bytes). The same request may use it again and gets the same
   * certificate, because the answer may have been lost; any other request is refused.
   */
  use(id: string, requestHash: Uint8Array, now: number): Promise<JoinToken | { refused: JoinTokenRefusal }>;
  revoke(id: string, at: number): Promise<boolean>;
  /** Revokes the gateway's usable tokens; resolves with their ids. */
  revokeOpen(gateway: string, at: number): Promise<string[]>;
}
