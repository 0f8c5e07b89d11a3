/** The key of a gateway or an administration server, and its request to certify it. */
import 'reflect-metadata';
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  webcrypto,
  X509Certificate,
} from 'node:crypto';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import {
  encodeJoinRequest,
  encodeSignedRequest,
  type JoinRight,
  joinBytes,
  joinId,
  joinMac,
} from '../../bus/join-messages.ts';
import { nameOf } from '../../bus/subjects.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import { pkcs8, type TokenParts } from '../../protocol/index.ts';
import type { GatewayIdentity, PendingJoin } from './identity.ts';

const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;

/** `gateway`: its name, or `serverSubject` of an administration server's. */
interface Wanted {
  gateway: string;
  fingerprint: Uint8Array;
  at: number;
}

export function joinByToken(gateway: string, { id, seed, fingerprint }: TokenParts, at: number) {
  const der = Buffer.from(pkcs8('Ed25519', seed));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const prove = (bytes: Uint8Array) => sign(null, bytes, key);
  return prepare({ gateway, fingerprint, at }, { by: 'token', token: id }, prove);
}

export function joinByApproval(gateway: string, fingerprint: Uint8Array, at: number) {
  return prepare({ gateway, fingerprint, at }, { by: 'approval' });
}

export function renew({ gateway, fingerprint, privateKey, ...identity }: GatewayIdentity, at: number) {
  const { macKey } = identity;
  const key = createPrivateKey(privateKey);
  const certificate = new Uint8Array(new X509Certificate(identity.certificate).raw);
  const prove = (bytes: Uint8Array) => sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' });
  return prepare({ gateway, fingerprint, at }, { by: 'certificate', certificate }, prove, macKey);
}

async function prepare(
  { gateway, fingerprint, at }: Wanted,
  right: JoinRight,
  prove?: (bytes: Uint8Array) => Uint8Array,
  macKey?: Uint8Array,
): Promise<PendingJoin> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const name = [{ CN: [nameOf(gateway)] }];
  const csr = await Pkcs10CertificateRequestGenerator.create({ name, keys, signingAlgorithm: SIGNING });
  const sealPair = await nodeHpke.generateX25519();
  const body = encodeJoinRequest({
    ...{ gateway, fingerprint, at: Math.floor(at), right },
    csr: new Uint8Array(csr.rawData),
    sealTo: sealPair.publicKey,
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const proof = prove?.(joinBytes(body));
  return {
    ...{ id: joinId(body), gateway, by: right.by, fingerprint, body, sealPair },
    ...(right.by === 'token' && { token: right.token }),
    request: encodeSignedRequest({
      body,
      ...(proof && { proof: new Uint8Array(proof) }),
      ...(macKey && { mac: new Uint8Array(joinMac(macKey, body)) }),
    }),
    privateKey: key.export({ format: 'pem', type: 'pkcs8' }) as string,
  };
}

export function spkiOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
}
