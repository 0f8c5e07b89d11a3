/**
 * What a gateway, or another administration server, writes to get a certificate, and what an administration
 * server answers. Whoever carries them can read everything but the sealed keys, and can change nothing. A
 * request is signed by the key of a join token or of the certificate that it renews, or is approved by its
 * fingerprint. An answer is signed by the server keys.
 */
import { createHash, createHmac } from 'node:crypto';
import { pack } from '#msgpack';
import { bytesOf, decodeMap, id, integer, list, mapOf, oneOf, text } from '../protocol/fields.ts';
import { LIMITS, ProtocolError, type Sealed, type SignedServerKeys } from '../protocol/index.ts';
import { signedServerKeys } from '../protocol/server-keys.ts';
import { type Installation, JOINS } from './bus.ts';
import { isSubject, nameOf, serverOf, serverSubject } from './subjects.ts';

const CSR_BYTES = 2_048;
const CERTIFICATE_BYTES = 4_096;
const AUTHORITIES = 4;
const ANSWER_BYTES = 64 * 1024;
const DETAIL_LENGTH = 512;
const HASH_BYTES = 32;
/** P-256 as r and s, and Ed25519. */
const PROOF_BYTES = 64;
/** Of the MAC key, and of the secrets key that a joining server gets after it. */
export const JOIN_KEY_BYTES = 32;
const MAC_BYTES = 32;
const TAG_BYTES = 16;

/** How it proves that it may have the certificate. */
export type JoinRight =
  /** Id of the join token; its key makes the proof. */
  | { by: 'token'; token: string }
  /** Its current certificate, X.509 in DER; that certificate's key makes the proof. */
  | { by: 'certificate'; certificate: Uint8Array }
  /** An operator compares fingerprints; there is no proof. */
  | { by: 'approval' };

export interface JoinRequest {
  /** Whom the certificate is for: a gateway's name, or `serverSubject` of an administration server's. */
  gateway: string;
  /** PKCS #10 in DER, for a key of P-256. */
  csr: Uint8Array;
  /** X25519 public key made for this request, 32 bytes. */
  sealTo: Uint8Array;
  /** Of the installation that it asks: SHA-256 of the root key, 32 bytes. */
  fingerprint: Uint8Array;
  /** Milliseconds since the Unix epoch, by the clock of the bus. */
  at: number;
  right: JoinRight;
}

/** As it travels. */
export interface SignedJoinRequest {
  body: Uint8Array;
  proof?: Uint8Array;
  /** `joinMac`, of a renewal. */
  mac?: Uint8Array;
}

export type JoinAnswer =
  | {
      kind: 'joined';
      gateway: string;
      serial: string;
      /** X.509 in DER. */
      certificate: Uint8Array;
      /** Authorities to trust, in DER, and their numbers as text. */
      authorities: Uint8Array[];
      trusts: string;
      issuedAt: number;
      expiresAt: number;
      /**
       * Sealed to `sealTo`: the MAC key of this certificate, 32 bytes. After it, for a server that joins, the
       * key that encrypts the installation's secrets, 32 bytes, if there is one.
       */
      sealed: Sealed;
      /** Of the server that answers, with the MAC of its epoch (`EpochMac`) as `seal`; '' for none. */
      installation: Installation & { seal: string };
    }
  /** `over`: the certificate that was to be renewed is worth nothing any more. */
  | { kind: 'refused'; detail: string; over?: boolean };

/** As it travels: `keys` are those that the gateway needs to check `sig`, the oldest first. */
export interface SignedJoinAnswer {
  keys: readonly SignedServerKeys[];
  body: Uint8Array;
  sig: Uint8Array;
}

/** Throws `ProtocolError` for one that no server would read. */
export function encodeJoinRequest(request: JoinRequest): Uint8Array<ArrayBuffer> {
  const { gateway: subject, ...rest } = request;
  const who =
    serverOf(subject) === null
      ? { kind: 'join', gateway: subject }
      : { kind: 'join-server', server: nameOf(subject) };
  const body = pack({ ...who, ...rest });
  decodeJoinRequest(body);
  return body;
}

/** Throws `ProtocolError`. */
export function decodeJoinRequest(body: Uint8Array): JoinRequest {
  const fields = decodeMap(body, JOINS.requestBytesMax);
  const kind = oneOf(fields, 'kind', ['join', 'join-server']);
  return {
    gateway: kind === 'join' ? id(fields, 'gateway') : serverSubject(id(fields, 'server')),
    csr: bytesOf(fields, 'csr', 1, CSR_BYTES),
    sealTo: bytesOf(fields, 'sealTo', LIMITS.publicKeyBytes),
    fingerprint: bytesOf(fields, 'fingerprint', HASH_BYTES),
    at: integer(fields, 'at'),
    right: rightOf(fields),
  };
}

function rightOf(fields: Record<string, unknown>): JoinRight {
  const right = mapOf(fields.right, 'right');
  const by = oneOf(right, 'by', ['token', 'certificate', 'approval']);
  if (by === 'token') return { by, token: id(right, 'token') };
  if (by === 'approval') return { by };
  return { by, certificate: bytesOf(right, 'certificate', 1, CERTIFICATE_BYTES) };
}

export function encodeSignedRequest({ body, proof, mac }: SignedJoinRequest): Uint8Array<ArrayBuffer> {
  return pack({ body, ...(proof && { proof }), ...(mac && { mac }) });
}

/** Throws `ProtocolError`. */
export function decodeSignedRequest(bytes: Uint8Array): SignedJoinRequest {
  const fields = decodeMap(bytes, JOINS.requestBytesMax);
  const body = bytesOf(fields, 'body', 1, JOINS.requestBytesMax);
  return {
    body,
    ...('proof' in fields && { proof: bytesOf(fields, 'proof', PROOF_BYTES) }),
    ...('mac' in fields && { mac: bytesOf(fields, 'mac', MAC_BYTES) }),
  };
}

export function encodeJoinAnswer(answer: JoinAnswer): Uint8Array<ArrayBuffer> {
  return pack(answer);
}

/** Throws `ProtocolError`. */
export function decodeJoinAnswer(body: Uint8Array): JoinAnswer {
  const fields = decodeMap(body, ANSWER_BYTES);
  const kind = oneOf(fields, 'kind', ['joined', 'refused']);
  if (kind === 'refused') {
    return {
      kind,
      detail: text(fields, 'detail', DETAIL_LENGTH),
      ...(fields.over === true && { over: true }),
    };
  }
  const sealed = mapOf(fields.sealed, 'sealed');
  const installation = mapOf(fields.installation, 'installation');
  if (!isSubject(fields.gateway)) throw new ProtocolError('F-6', 'gateway: a name');
  return {
    kind,
    gateway: fields.gateway,
    serial: text(fields, 'serial', 64),
    certificate: bytesOf(fields, 'certificate', 1, CERTIFICATE_BYTES),
    authorities: list(fields, 'authorities', AUTHORITIES, (der) =>
      bytesOf({ der }, 'der', 1, CERTIFICATE_BYTES),
    ),
    trusts: text(fields, 'trusts', 64),
    issuedAt: integer(fields, 'issuedAt'),
    expiresAt: integer(fields, 'expiresAt'),
    sealed: {
      enc: bytesOf(sealed, 'enc', LIMITS.publicKeyBytes),
      ct: bytesOf(sealed, 'ct', JOIN_KEY_BYTES + TAG_BYTES, 2 * JOIN_KEY_BYTES + TAG_BYTES),
    },
    installation: {
      id: id(installation, 'id'),
      epoch: integer(installation, 'epoch', 1),
      seal: text(installation, 'seal', 64),
    },
  };
}

export function encodeSignedAnswer({ keys, body, sig }: SignedJoinAnswer): Uint8Array<ArrayBuffer> {
  return pack({ keys, body, sig });
}

/** Throws `ProtocolError`. */
export function decodeSignedAnswer(bytes: Uint8Array): SignedJoinAnswer {
  const fields = decodeMap(bytes, ANSWER_BYTES);
  return {
    keys: list(fields, 'keys', LIMITS.serverKeyDocuments, (document) =>
      signedServerKeys(mapOf(document, 'document')),
    ),
    body: bytesOf(fields, 'body', 1, ANSWER_BYTES),
    sig: bytesOf(fields, 'sig', LIMITS.signatureBytes),
  };
}

/** What the token's key or the earlier certificate's key signs. */
export function joinBytes(body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('pushpoint.v1 join\0'), body]);
}

/** What shows that a gateway has the key of the certificate that it renews. */
export function joinMac(macKey: Uint8Array, body: Uint8Array): Buffer {
  return createHmac('sha512', macKey).update(joinBytes(body)).digest().subarray(0, MAC_BYTES);
}

/** What a server signs: this answer, to this request. */
export function joinedBytes(request: Uint8Array, answer: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('pushpoint.v1 joined\0'), sha256(request), answer]);
}

/** `info` of HPKE for the keys in the answer to this request. */
export function joinedInfo(request: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('pushpoint.v1 joined key\0'), sha256(request)]);
}

/** Identifies a request on the bus, and is what people compare: SHA-256 of its body, hexadecimal. */
export function joinId(body: Uint8Array): string {
  return sha256(body).toString('hex');
}

/** The same in groups of four digits, for people; the first 128 bits. */
export function fingerprintText(id: string): string {
  return (id.slice(0, 32).match(/.{4}/g) ?? []).join('-');
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
