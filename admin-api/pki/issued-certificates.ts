/** The form of the internal authority's certificates: X.509 with P-256 and SHA-256, and nothing else. */
import 'reflect-metadata';
import { createHash, randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { nameOf, serverOf } from '../../bus/subjects.ts';

const CURVE = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
/** SubjectPublicKeyInfo of an uncompressed point of P-256 begins with these bytes. */
const P256_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');
const P256_BYTES = 91;
/** How far another machine's clock may be behind. */
const CLOCKS_APART_MS = 300_000;
const SERIAL_BYTES = 16;
const TIME_BYTES = 6;
/** Of a certificate. */
export const CERTIFICATE_LIFE_MS = 30 * 86_400_000;
/** A request has a few hundred bytes; longer ones are not read. */
const REQUEST_BYTES_MAX = 2_048;

export interface AuthorityKeys {
  certificate: X509Certificate;
  privateKey: webcrypto.CryptoKey;
}

/** The content of a certificate. Times are milliseconds since the Unix epoch. */
export interface CertificateSubject {
  /** Hexadecimal. */
  serial: string;
  /** The gateway's name, or `serverSubject` of an administration server's. */
  gateway: string;
  publicKey: webcrypto.CryptoKey;
  issuedAt: number;
  expiresAt: number;
}

/** A new key with its own certificate; `pkcs8` is the private key in DER. */
export async function makeAuthority(subject: {
  name: string;
  createdAt: number;
  expiresAt: number;
}): Promise<{ certificate: Uint8Array; pkcs8: Uint8Array }> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(subject.createdAt),
    name: [{ CN: [subject.name] }],
    notBefore: new Date(subject.createdAt - CLOCKS_APART_MS),
    notAfter: new Date(subject.expiresAt),
    signingAlgorithm: SIGNING,
    keys: keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { certificate: new Uint8Array(certificate.rawData), pkcs8: new Uint8Array(pkcs8) };
}

export async function importAuthority(certificate: Uint8Array, pkcs8: Uint8Array): Promise<AuthorityKeys> {
  return {
    certificate: new X509Certificate(certificate),
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, CURVE, false, ['sign']),
  };
}

/** Valid for both ends of TLS. The URI says whether it is a gateway's or a server's, whatever the name is. */
export async function issueCertificate(
  { certificate, privateKey }: AuthorityKeys,
  { serial, gateway, publicKey, issuedAt, expiresAt }: CertificateSubject,
): Promise<Uint8Array> {
  const name = nameOf(gateway);
  const kind = serverOf(gateway) === null ? 'gateway' : 'server';
  const issued = await X509CertificateGenerator.create({
    serialNumber: serial,
    subject: [{ CN: [name] }],
    issuer: certificate.subjectName,
    notBefore: new Date(issuedAt - CLOCKS_APART_MS),
    notAfter: new Date(expiresAt),
    signingAlgorithm: SIGNING,
    publicKey: publicKey,
    signingKey: privateKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth, ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension([
        { type: 'dns', value: name },
        { type: 'url', value: `urn:pushpoint:${kind}:${name}` },
      ]),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(certificate.publicKey),
    ],
  });
  return new Uint8Array(issued.rawData);
}

/**
 * Reads a certification request (PKCS #10 in DER). `null` unless its key is of P-256, it is signed by that
 * key, and it names exactly this gateway or server. Other requested attributes are ignored.
 */
export async function readRequest(
  der: Uint8Array,
  gateway: string,
): Promise<{ publicKey: webcrypto.CryptoKey; keyHash: Uint8Array } | null> {
  if (der.length > REQUEST_BYTES_MAX) return null;
  try {
    const request = new Pkcs10CertificateRequest(new Uint8Array(der));
    const spki = Buffer.from(request.publicKey.rawData);
    if (spki.length !== P256_BYTES || !spki.subarray(0, P256_PREFIX.length).equals(P256_PREFIX)) return null;
    const names = request.subjectName.toJSON();
    const isOwn =
      names.length === 1 && JSON.stringify(names[0]) === JSON.stringify({ CN: [nameOf(gateway)] });
    if (!isOwn || !(await request.verify())) return null;
    const publicKey = await webcrypto.subtle.importKey('spki', spki, CURVE, true, ['verify']);
    return { publicKey, keyHash: createHash('sha256').update(spki).digest() };
  } catch {
    return null;
  }
}

/**
 * Positive, and its first byte is not zero: the text is the same in every program. It says when it was made,
 * milliseconds since the Unix epoch.
 */
export function newSerial(at: number): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  bytes.writeUIntBE(Math.floor(at), 1, TIME_BYTES);
  return bytes.toString('hex');
}

/** 0 for text that is no serial number. */
export function timeOfSerial(serial: string): number {
  const bytes = Buffer.from(serial, 'hex');
  return bytes.length === SERIAL_BYTES ? bytes.readUIntBE(1, TIME_BYTES) : 0;
}
