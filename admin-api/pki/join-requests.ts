import { createHash, createPublicKey, verify } from 'node:crypto';
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

/** A request that is well formed; that its gateway may have what it asks for is not shown by that. */
export interface ReadJoin {
  id: string;
  body: Uint8Array;
  proof: Uint8Array | undefined;
  request: JoinRequest;
  csr: NonNullable<Awaited<ReturnType<typeof readRequest>>>;
}

/** `null` for what no gateway writes. */
export async function readJoin({ id, request: bytes }: JoinRequested): Promise<ReadJoin | null> {
  try {
    const { body, proof } = decodeSignedRequest(bytes);
    const request = decodeJoinRequest(body);
    if (joinId(body) !== id || !isStrictX25519(request.sealTo)) return null;
    const csr = await readRequest(request.csr, request.gateway);
    return csr && { id, body, proof, request, csr };
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

/** Whether the key with this hash (of the SPKI in DER) signed the request. */
export function isProvedBy(publicKey: Uint8Array, keyHash: Uint8Array, { body, proof }: ReadJoin): boolean {
  if (proof === undefined || !createHash('sha256').update(publicKey).digest().equals(keyHash)) return false;
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
    return verify('sha256', joinBytes(body), { key, dsaEncoding: 'ieee-p1363' }, proof);
  } catch {
    return false;
  }
}
