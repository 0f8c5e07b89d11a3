import {
  createHash,
  createPrivateKey,
  createPublicKey,
  verify as verifySignature,
  X509Certificate,
} from 'node:crypto';
import {
  decodeJoinAnswer,
  decodeSignedAnswer,
  JOIN_KEY_BYTES,
  joinedBytes,
  joinedInfo,
} from '../../bus/join-messages.ts';
import { openSealed } from '../../protocol/hpke.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import {
  followServerKeys,
  isSignedBy,
  ProtocolError,
  type ServerKeys,
  type SignedServerKeys,
  spki,
} from '../../protocol/index.ts';
import type { Joined, PendingJoin } from './identity.ts';
import { spkiOf } from './join-request.ts';

/** `over`: the certificate that was to be renewed is worth nothing any more. */
export interface JoinRefusal {
  refused: string;
  over: boolean;
}

/**
 * The content of an answer to the request; `null` if the installation with the request's fingerprint did not
 * make it.
 */
export async function openJoinAnswer(
  pending: PendingJoin,
  bytes: Uint8Array,
): Promise<Joined | JoinRefusal | null> {
  try {
    const { keys: documents, body, sig } = decodeSignedAnswer(bytes);
    const keys = await trustedKeys(documents, pending.fingerprint);
    if (!keys || !(await isSignedBy(keys, joinedBytes(pending.body, body), sig, verify))) return null;
    const answer = decodeJoinAnswer(body);
    if (answer.kind === 'refused') return { refused: answer.detail, over: answer.over === true };
    const { gateway, serial, trusts, issuedAt, expiresAt, sealed, installation } = answer;
    const certificate = new X509Certificate(answer.certificate);
    const authorities = answer.authorities.map((der) => new X509Certificate(der));
    if (gateway !== pending.gateway || !isFor(pending, serial, certificate, authorities)) return null;
    const secrets = await openSealed({
      platform: nodeHpke,
      pair: pending.sealPair,
      info: joinedInfo(pending.body),
      sealed,
    });
    const [macKey, secretsKey] = [secrets.slice(0, JOIN_KEY_BYTES), secrets.slice(JOIN_KEY_BYTES)];
    return {
      ...{ gateway, serial, trusts, issuedAt, expiresAt, macKey, installation },
      ...(secretsKey.length > 0 && { secretsKey }),
      fingerprint: fingerprintOf(keys),
      privateKey: pending.privateKey,
      certificate: certificate.toString(),
      authorities: authorities.map((authority) => authority.toString()),
    };
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

/** Whether it certifies the request's key, signed by an authority of the answer. */
function isFor(
  { privateKey }: PendingJoin,
  serial: string,
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
): boolean {
  const own = spkiOf(createPrivateKey(privateKey));
  const certified = certificate.publicKey.export({ format: 'der', type: 'spki' });
  return (
    own.equals(certified) &&
    certificate.serialNumber.toLowerCase() === serial &&
    authorities.some((each) => certificate.checkIssued(each) && certificate.verify(each.publicKey))
  );
}

/** The newest server keys in the chain that begins at the root with this fingerprint. */
async function trustedKeys(
  documents: readonly SignedServerKeys[],
  fingerprint: Uint8Array,
): Promise<ServerKeys | undefined> {
  const isOurs = (root: Uint8Array) => fingerprintOf({ root }).equals(fingerprint);
  return (await followServerKeys(documents, isOurs, verify)).at(-1)?.keys;
}

function fingerprintOf({ root }: Pick<ServerKeys, 'root'>): Buffer {
  return createHash('sha256').update(root).digest();
}

function verify(publicKey: Uint8Array, bytes: Uint8Array, sig: Uint8Array): boolean {
  try {
    const der = Buffer.from(spki('Ed25519', publicKey));
    return verifySignature(null, bytes, createPublicKey({ key: der, format: 'der', type: 'spki' }), sig);
  } catch {
    return false;
  }
}
