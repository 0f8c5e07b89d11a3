/**
 * The keys that sign for an installation, as one numbered document signed by its root key (PROTOCOL.md,
 * section "Server keys"). Signatures are verified by what the caller passes in.
 */
import { pack } from '#msgpack';
import { sameBytes } from './bytes.ts';
import { editionOf, isNewer } from './editions.ts';
import { bytesOf, decodeMap, type Fields, integer, isGiven, list, oneOf, signedBody } from './fields.ts';
import { ProtocolError } from './frame-scan.ts';
import { LIMITS } from './limits.ts';
import type { SignedServerKeys } from './messages.ts';
import { isStrictEd25519 } from './public-keys.ts';
import { serverKeysBytes } from './signing.ts';

/** All keys are raw Ed25519 public keys, 32 bytes. */
export interface ServerKeys {
  epoch: number;
  /** With the epoch, its edition. */
  revision: number;
  root: Uint8Array;
  /** Every one of them signs orders, passes and answers: 1 to 4. */
  signing: Uint8Array[];
  issuedAt: number;
}

const NOTHING = new Uint8Array();

/** Whether `sig` is the signature of `bytes` by this key. */
export type VerifySignature = (
  publicKey: Uint8Array,
  bytes: Uint8Array,
  sig: Uint8Array,
) => boolean | Promise<boolean>;

/** Throws `ProtocolError` for a document that devices would drop. */
export function encodeServerKeys(keys: ServerKeys): Uint8Array<ArrayBuffer> {
  const { root, signing, epoch, revision, issuedAt } = keys;
  const body = pack({ kind: 'keys', root, signing, epoch, revision, issuedAt });
  decodeServerKeys(body);
  return body;
}

/** Signed or not. Throws `ProtocolError`. */
export function decodeServerKeys(body: Uint8Array): ServerKeys {
  const fields = decodeMap(body, LIMITS.serverKeysBytes);
  oneOf(fields, 'kind', ['keys']);
  const root = bytesOf(fields, 'root', LIMITS.publicKeyBytes);
  const signing = list(fields, 'signing', LIMITS.signingKeys, (key) =>
    bytesOf({ signing: key }, 'signing', LIMITS.publicKeyBytes),
  );
  const all = [root, ...signing];
  if (!all.every(isStrictEd25519)) throw new ProtocolError('E-8', 'keys: of small order, or not canonical');
  const distinct = all.every((key, index) => all.findIndex((other) => sameBytes(key, other)) === index);
  if (signing.length === 0 || !distinct) {
    throw new ProtocolError('K-1', `signing: 1 to ${LIMITS.signingKeys} keys, all different from each other`);
  }
  const epoch = integer(fields, 'epoch', 1);
  const revision = integer(fields, 'revision', 1);
  return { epoch, revision, root, signing, issuedAt: integer(fields, 'issuedAt') };
}

/** The fields of a signed document in a message. Throws `ProtocolError`. */
export function signedServerKeys(fields: Fields): SignedServerKeys {
  const { previousSig } = fields;
  return {
    ...signedBody(fields, LIMITS.serverKeysBytes),
    ...(isGiven(previousSig) && { previousSig: bytesOf(fields, 'previousSig', LIMITS.signatureBytes) }),
  };
}

/** The document, if it is well formed and signed by the root that it names (K-2); else `null`. */
export async function openServerKeys(
  signed: SignedServerKeys,
  verify: VerifySignature,
): Promise<ServerKeys | null> {
  const keys = readServerKeys(signed.body);
  if (!keys) return null;
  return (await verify(keys.root, serverKeysBytes(signed.body), signed.sig)) ? keys : null;
}

/** The document, if whoever holds `held` takes it (K-3); else `null`. */
export async function succeedServerKeys(
  held: Pick<ServerKeys, 'root' | 'epoch' | 'revision'>,
  signed: SignedServerKeys,
  verify: VerifySignature,
): Promise<ServerKeys | null> {
  const keys = readServerKeys(signed.body);
  if (!keys || !isNewer(editionOf(keys), editionOf(held))) return null;
  if (!sameBytes(keys.root, held.root)) {
    const { previousSig } = signed;
    if (!previousSig || !(await verify(held.root, serverKeysBytes(signed.body), previousSig))) return null;
  }
  return openServerKeys(signed, verify);
}

/** A document that counts: what it says, and how it was signed. */
export interface FollowedKeys {
  keys: ServerKeys;
  signed: SignedServerKeys;
}

/**
 * Those of these documents that count, in their order, each by the one before it (K-3, K-7); the last one is
 * the newest. `from`: what is held, or which root is trusted as long as nothing is.
 */
export async function followServerKeys(
  documents: readonly SignedServerKeys[],
  from: ServerKeys | ((root: Uint8Array) => boolean | Promise<boolean>),
  verify: VerifySignature,
): Promise<FollowedKeys[]> {
  const followed: FollowedKeys[] = [];
  for (const signed of documents) {
    const held = followed.at(-1)?.keys ?? (typeof from === 'function' ? null : from);
    const keys = held ? await succeedServerKeys(held, signed, verify) : await openServerKeys(signed, verify);
    if (keys && (held || typeof from !== 'function' || (await from(keys.root))))
      followed.push({ keys, signed });
  }
  return followed;
}

/** Whether one of the signing keys made this signature (K-4). */
export async function isSignedBy(
  keys: Pick<ServerKeys, 'signing'>,
  bytes: Uint8Array,
  sig: Uint8Array,
  verify: VerifySignature,
): Promise<boolean> {
  // The newest key is the last, and signs most.
  for (const key of [...keys.signing].reverse()) if (await verify(key, bytes, sig)) return true;
  return false;
}

/** Whether these are the same documents in the same order, byte for byte. */
export function sameDocuments(a: readonly SignedServerKeys[], b: readonly SignedServerKeys[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ body, sig, previousSig = NOTHING }, index) => {
      const other = b[index];
      return (
        other !== undefined &&
        sameBytes(body, other.body) &&
        sameBytes(sig, other.sig) &&
        sameBytes(previousSig, other.previousSig ?? NOTHING)
      );
    })
  );
}

/** The content of a document, signed or not; `null` if it is not one. */
export function readServerKeys(body: Uint8Array): ServerKeys | null {
  try {
    return decodeServerKeys(body);
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}
