import { createHash, verify, X509Certificate } from 'node:crypto';
import type { JoinRequested } from '../../bus/bus.ts';
import {
  decodeJoinRequest,
  decodeSignedRequest,
  type JoinRequest,
  joinBytes,
  joinId,
} from '../../bus/join-messages.ts';
import { isStrictX25519, ProtocolError } from '../../protocol/index.ts';
import { readRequest } from './issued-certificates.ts';

/** A well-formed request. That does not prove that its gateway may have a certificate. */
export interface ReadJoin {
  id: string;
  body: Uint8Array;
  proof: Uint8Array | undefined;
  mac: Uint8Array | undefined;
  request: JoinRequest;
  csr: NonNullable<Awaited<ReturnType<typeof readRequest>>>;
}

/** `null` for anything that no gateway would write. */
export async function readJoin({ id, request: bytes }: JoinRequested): Promise<ReadJoin | null> {
  try {
    const { body, proof, mac } = decodeSignedRequest(bytes);
    const request = decodeJoinRequest(body);
    if (joinId(body) !== id || !isStrictX25519(request.sealTo)) return null;
    const csr = await readRequest(request.csr, request.gateway);
    return csr && { id, body, proof, mac, request, csr };
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

/** The certificate with which a gateway renews, if its key made the proof. */
export interface HeldCertificate {
  certificate: X509Certificate;
  serial: string;
  /** SHA-256 of its public key, SPKI in DER. */
  keyHash: Buffer;
}

/** `null` unless the key of this certificate (DER) signed the request; its issuer is not checked. */
export function readHeld(der: Uint8Array, { body, proof }: ReadJoin): HeldCertificate | null {
  if (proof === undefined) return null;
  try {
    const certificate = new X509Certificate(der);
    const { publicKey: key } = certificate;
    if (!verify('sha256', joinBytes(body), { key, dsaEncoding: 'ieee-p1363' }, proof)) return null;
    const spki = key.export({ format: 'der', type: 'spki' });
    const serial = certificate.serialNumber.toLowerCase();
    return { certificate, serial, keyHash: createHash('sha256').update(spki).digest() };
  } catch {
    return null;
  }
}
