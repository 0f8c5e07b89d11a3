import type { Installation } from '../../bus/bus.ts';
import type { JoinRight } from '../../bus/join-messages.ts';
import type { X25519Pair } from '../../protocol/index.ts';

/** The identity of a gateway, or of an administration server that joined. */
export interface GatewayIdentity {
  /** Its name; `serverSubject` of an administration server's. */
  gateway: string;
  /** Of the certificate, hexadecimal. */
  serial: string;
  /** Key that authenticates it to administration servers, 32 bytes; secret. */
  macKey: Uint8Array;
  /** Of the installation: SHA-256 of its root key, 32 bytes. */
  fingerprint: Uint8Array;
  /** PEM; secret. */
  privateKey: string;
  /** PEM. */
  certificate: string;
  authorities: string[];
  /** Numbers of the trusted authorities; the one that signs comes first. */
  trusts: string;
  /** Milliseconds since the Unix epoch. */
  issuedAt: number;
  expiresAt: number;
  /** Of the server that issued it, with the MAC of its epoch as `seal`. */
  installation: Installation & { seal: string };
}

/** What an answer brings. */
export interface Joined extends GatewayIdentity {
  /** For a server that joins: the key of the installation's secrets, 32 bytes; not part of its identity. */
  secretsKey?: Uint8Array;
}

/** What it takes to open the answer; `privateKey` and `sealPair` are secret. */
export interface PendingJoin {
  id: string;
  gateway: string;
  by: JoinRight['by'];
  /** Id of the join token, where there is one. */
  token?: string;
  /** Fingerprint of the installation that it asks, 32 bytes. */
  fingerprint: Uint8Array;
  body: Uint8Array;
  /** As it travels. */
  request: Uint8Array;
  /** PEM. */
  privateKey: string;
  sealPair: X25519Pair;
}
