/**
 * The request of a device that enrols, and the checks of its answer (PROTOCOL.md, E-2 to E-6): it accepts
 * only what a key named by its token signed for this request.
 */

import {
  decodeEnrolled,
  decodeOrderBody,
  decodeServerKeys,
  encodeEnrolRequest,
  enrolBytes,
  enrolledBytes,
  type FollowedKeys,
  followServerKeys,
  type GatewayAddress,
  isSignedBy,
  LIMITS,
  type MembershipOrder,
  openSealed,
  orderBytes,
  refusedBytes,
  requestBytes,
  type SignedOrder,
  type SignedServerKeys,
  sealedSecretBytes,
  type TokenParts,
  type X25519Pair,
} from '../protocol/index.ts';
import { keyDocuments } from './keys/key-documents.ts';
import { fromBase64url, toBase64url } from './platform/base64url.ts';
import type { DeviceCrypto, DeviceKey } from './platform/crypto.ts';

/** A sent request, and what it takes to check its answer. */
export interface SignedRequest {
  json: { body: string; tokenSig: string; deviceSig: string };
  /** Absent: the keys that the device holds say whom it believes. */
  token?: TokenParts;
  crypto: DeviceCrypto;
  /** The request's hash (E-2). */
  hash: Uint8Array;
  /** Made for this request only. */
  sealTo: X25519Pair;
  /** The device's own. */
  publicKey: Uint8Array;
}

/** The content of a checked answer. */
export interface EnrolmentAnswer {
  deviceId: string;
  installation: string;
  generation: number;
  secret: Uint8Array;
  /** The newest document. */
  keys: SignedServerKeys;
  membership: { order: MembershipOrder; body: Uint8Array; sig: Uint8Array };
  list?: SignedOrder;
  /** What is in it. */
  listed?: GatewayAddress[];
  /** Names, the best first. */
  gateways: string[];
}

interface Asking {
  token: TokenParts;
  key: DeviceKey;
  crypto: DeviceCrypto;
  about: { name: string; platform: string; software: string };
}

/** E-2 */
export async function signRequest({ token, key, crypto, about }: Asking): Promise<SignedRequest> {
  const sealTo = await crypto.generateX25519();
  const { publicKey } = key;
  const body = encodeEnrolRequest({ token: token.id, publicKey, sealTo: sealTo.publicKey, ...about });
  const bytes = enrolBytes(body);
  const tokenSig = await crypto.sign(token.seed, bytes);
  const deviceSig = await crypto.sign(key.privateKey, bytes);
  const hash = await crypto.sha256(requestBytes({ body, tokenSig, deviceSig }));
  const texts = { tokenSig: toBase64url(tokenSig), deviceSig: toBase64url(deviceSig) };
  return { json: { body: toBase64url(body), ...texts }, token, crypto, hash, sealTo, publicKey };
}

type Answer = Record<string, unknown>;

/**
 * `held`: the server keys that the device already has. Rejects an answer that is not signed or breaks E-3.
 */
export async function openAnswer(
  answer: Answer,
  request: Omit<SignedRequest, 'json'>,
  held: SignedServerKeys | undefined,
): Promise<EnrolmentAnswer> {
  const { crypto, hash, sealTo, publicKey } = request;
  const { keys, signed } = await openKeys(answer.keys, request, held);
  const body = fromBase64url(answer.body);
  if (!(await isSignedBy(keys, enrolledBytes(hash, body), sigOf(answer), crypto.verify))) {
    throw new TypeError('signature');
  }
  const { secret: sealed, membership, ...enrolled } = decodeEnrolled(body);
  const open = async ({ body, sig }: SignedOrder) =>
    (await isSignedBy(keys, orderBytes(body), sig, crypto.verify)) ? decodeOrderBody(body) : null;
  const order = await open(membership);
  if (
    order?.kind !== 'membership' ||
    order.target.device !== enrolled.deviceId ||
    toBase64url(order.key ?? new Uint8Array()) !== toBase64url(publicKey)
  ) {
    throw new TypeError('membership, or its signature');
  }
  const list = enrolled.list && (await open(enrolled.list));
  if (list !== undefined && (list?.kind !== 'gateways' || list.target.group !== order.groups.at(-1))) {
    throw new TypeError('list, or its signature');
  }
  return {
    ...enrolled,
    secret: await openSealed({ platform: crypto, info: sealedSecretBytes(hash), pair: sealTo, sealed }),
    keys: signed,
    membership: { order, ...membership },
    ...(list && { listed: list.gateways }),
  };
}

/** A refusal that ends the enrolment (E-6). Rejects one that is not signed. */
export async function openRefusal(
  answer: Answer,
  request: SignedRequest,
  held: SignedServerKeys | undefined,
): Promise<{ code: string; detail: string }> {
  const { code, detail } = answer;
  if (typeof code !== 'string' || typeof detail !== 'string') throw new TypeError('code and detail');
  const { crypto, hash } = request;
  const { keys } = await openKeys(answer.keys, request, held);
  if (!(await isSignedBy(keys, refusedBytes(hash, code, detail), sigOf(answer), crypto.verify))) {
    throw new TypeError('signature');
  }
  return { code, detail };
}

/**
 * The newest keys that may sign an answer (E-4): they follow from the root that the token names (K-7). A
 * device that has keys takes others only as it would from a gateway (K-3).
 */
async function openKeys(
  value: unknown,
  { token, crypto }: Pick<SignedRequest, 'token' | 'crypto'>,
  held: SignedServerKeys | undefined,
): Promise<FollowedKeys> {
  const documents = keyDocuments(value);
  const before = held && { keys: decodeServerKeys(held.body), signed: held };
  const ours = before && ((await followServerKeys(documents, before.keys, crypto.verify)).at(-1) ?? before);
  const named = token ? await namedKeys(documents, token, crypto) : ours;
  if (!named) throw new TypeError('the server is not of the installation that the token names (E-4)');
  if (ours && toBase64url(ours.keys.root) !== toBase64url(named.keys.root)) {
    throw new TypeError('the server has another root key than the one this device trusts (E-4)');
  }
  return ours ?? named;
}

async function namedKeys(
  documents: readonly SignedServerKeys[],
  { fingerprint }: TokenParts,
  crypto: DeviceCrypto,
): Promise<FollowedKeys | undefined> {
  const isOfToken = async (root: Uint8Array) =>
    toBase64url(await crypto.sha256(root)) === toBase64url(fingerprint);
  return (await followServerKeys(documents, isOfToken, crypto.verify)).at(-1);
}

function sigOf({ sig }: Answer): Uint8Array {
  return fromBase64url(sig, LIMITS.signatureBytes);
}
