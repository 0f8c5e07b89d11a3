/** What somebody who carries an enrolment can make of it (PROTOCOL.md, section E). */
import { createHash, sign } from 'node:crypto';
import { nodeHpke } from '../../../protocol/hpke-node.ts';
import {
  decodeEnrolled,
  decodeEnrolRequest,
  encodeEnrolled,
  encodeEnrolRequest,
  encodeOrderBody,
  enrolBytes,
  enrolledBytes,
  orderBytes,
  requestBytes,
  sealedSecretBytes,
  sealTo,
} from '../../../protocol/index.ts';
import { newKeyPair, signedKeys } from '../../server-keys.ts';

type Json = Record<string, unknown>;

/** An answer on its way. */
export interface Carried {
  status: number;
  json: Json;
}

type Ask = (asked: Json) => Promise<Carried>;

const [ROOT, SIGNING, DEVICE] = [newKeyPair(), newKeyPair(), newKeyPair()];
const SECRET = new Uint8Array(32);

const bytes = (text: unknown) => new Uint8Array(Buffer.from(text as string, 'base64url'));
const text = (value: Uint8Array) => Buffer.from(value).toString('base64url');
const by = ({ privateKey }: typeof ROOT, signed: Uint8Array) => text(sign(null, signed, privateKey));

/** By name; `ask` asks the true server. */
export const ENROLMENTS = {
  /** The request asks for the secret to be sealed to a key of the carrier. */
  async 'own-seal-key'(asked: Json, ask: Ask): Promise<Carried> {
    const { publicKey } = await nodeHpke.generateX25519();
    const body = encodeEnrolRequest({ ...decodeEnrolRequest(bytes(asked.body)), sealTo: publicKey });
    return ask({ ...asked, body: text(body) });
  },

  /** With the id of the token that it read, for a device of its own. */
  async 'own-device'(asked: Json, ask: Ask): Promise<Carried> {
    const { publicKey } = DEVICE;
    const body = encodeEnrolRequest({ ...decodeEnrolRequest(bytes(asked.body)), publicKey });
    const sig = by(DEVICE, enrolBytes(body));
    return ask({ body: text(body), tokenSig: sig, deviceSig: sig });
  },

  /** Everything of the answer is of another installation. */
  async 'own-installation'(asked: Json): Promise<Carried> {
    const { publicKey: key } = decodeEnrolRequest(bytes(asked.body));
    const order = encodeOrderBody({
      ...{ kind: 'membership', target: { device: 'd-captured' }, state: 'active', key, groups: ['all'] },
      ...{ epoch: 1, revision: 1, issuedAt: Date.now() },
    });
    const sig = new Uint8Array(sign(null, orderBytes(order), SIGNING.privateKey));
    const body = encodeEnrolled({
      ...{ deviceId: 'd-captured', installation: 'i-attacker', generation: 1, gateways: [] },
      secret: await sealed(asked),
      membership: { body: order, sig },
    });
    const keys = signedKeys(ROOT, [1, 1], [SIGNING.publicKey]);
    return answered(asked, body, [{ body: text(keys.body), sig: text(keys.sig) }]);
  },

  /** The true answer, with a secret that the carrier knows. */
  async 'own-secret'(asked: Json, ask: Ask): Promise<Carried> {
    const { json } = await ask(asked);
    const body = encodeEnrolled({ ...decodeEnrolled(bytes(json.body)), secret: await sealed(asked) });
    return answered(asked, body, json.keys);
  },

  /** The request is granted, and its device told that it was not. */
  async 'own-refusal'(asked: Json, ask: Ask): Promise<Carried> {
    const { keys } = (await ask(asked)).json;
    const sig = text(sign(null, bytes(asked.body), SIGNING.privateKey));
    return { status: 410, json: { code: 'gone', detail: 'never come back', keys, sig } };
  },
};
export type Enrolment = keyof typeof ENROLMENTS;

function hashOf({ body, tokenSig, deviceSig }: Json): Uint8Array {
  const request = { body: bytes(body), tokenSig: bytes(tokenSig), deviceSig: bytes(deviceSig) };
  return createHash('sha256').update(requestBytes(request)).digest();
}

function sealed(asked: Json) {
  const { sealTo: publicKey } = decodeEnrolRequest(bytes(asked.body));
  const info = sealedSecretBytes(hashOf(asked));
  return sealTo({ platform: nodeHpke, info, publicKey, message: SECRET });
}

function answered(asked: Json, body: Uint8Array, keys: unknown): Carried {
  return {
    status: 201,
    json: { keys, body: text(body), sig: by(SIGNING, enrolledBytes(hashOf(asked), body)) },
  };
}
