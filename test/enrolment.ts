/** Section E by hand, from PROTOCOL.md: the requests of a device, and what the answers say. */
import { createHash, createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { nodeHpke } from '../protocol/hpke-node.ts';
import {
  decodeEnrolled,
  decodeServerKeys,
  type EnrolRequest,
  encodeValue,
  enrolBytes,
  openSealed,
  parseToken,
  pkcs8,
  sealedSecretBytes,
  type X25519Pair,
} from '../protocol/index.ts';

interface Keys {
  publicKey: Uint8Array;
  privateKey: KeyObject;
}

export interface HandRequest {
  /** As it is sent. */
  json: { body: string; tokenSig: string; deviceSig: string };
  /** SHA-256 of body and signatures. */
  hash: Uint8Array;
  sealTo: X25519Pair;
}

/** `more` may say other than it should: it is not checked. */
export async function enrolRequest(
  tokenText: string,
  keys: Keys,
  more: Partial<Record<keyof EnrolRequest, unknown>> & Record<string, unknown> = {},
): Promise<HandRequest> {
  const token = parseToken('pp1', tokenText);
  if (!token) throw new Error(`no token: ${tokenText}`);
  const sealTo = await nodeHpke.generateX25519();
  const { publicKey } = keys;
  const fields = { kind: 'enrol', token: token.id, publicKey, sealTo: sealTo.publicKey, name: 'kiosk' };
  const body = encodeValue({ ...fields, platform: 'linux-x64', software: 'test/1', ...more });
  const signed = (key: KeyObject) => sign(null, enrolBytes(body), key);
  const tokenSig = signed(fromSeed(token.seed));
  const deviceSig = signed(keys.privateKey);
  const hash = createHash('sha256').update(body).update(tokenSig).update(deviceSig).digest();
  const json = {
    body: Buffer.from(body).toString('base64url'),
    tokenSig: tokenSig.toString('base64url'),
    deviceSig: deviceSig.toString('base64url'),
  };
  return { json, hash, sealTo };
}

export function fromSeed(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(pkcs8('Ed25519', seed)), format: 'der', type: 'pkcs8' });
}

export interface EnrolAnswer {
  /** The newest document last. */
  keys: { body: string; sig: string; previousSig?: string }[];
  body: string;
  sig: string;
}

/** What a good answer says; its signatures are the tests' own business. */
export function readEnrolled({ keys, body }: EnrolAnswer) {
  const said = decodeEnrolled(Buffer.from(body, 'base64url'));
  return { ...said, serverKeys: decodeServerKeys(Buffer.from(keys.at(-1)?.body ?? '', 'base64url')) };
}

/** The device secret inside it. */
export function secretOf(answer: EnrolAnswer, { hash, sealTo }: HandRequest): Promise<Uint8Array> {
  const { secret: sealed } = readEnrolled(answer);
  return openSealed({ platform: nodeHpke, info: sealedSecretBytes(hash), pair: sealTo, sealed });
}
