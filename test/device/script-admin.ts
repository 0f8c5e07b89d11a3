/**
 * An administration server that only enrols and tells devices where to go: everybody, or as the test says.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type DeviceKey, nodeCrypto } from '../../device/index.ts';
import { fromBase64url, toBase64url } from '../../device/platform/base64url.ts';
import {
  decodeEnrolRequest,
  type Enrolled,
  encodeEnrolled,
  encodeOrderBody,
  encodeServerKeys,
  encodeValue,
  enrolledBytes,
  type GatewayAddress,
  type GatewaysOrder,
  locateBytes,
  locatedBytes,
  type MembershipOrder,
  orderBytes,
  refusedBytes,
  type SignedOrder,
  type SignedServerKeys,
  sealedSecretBytes,
  sealTo,
  serverKeysBytes,
  tokenText,
} from '../../protocol/index.ts';

import { firstKeys } from './script-gateway.ts';

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body: unknown;
}

/** Of every device it enrols. */
export const SECRET = new Uint8Array(32).fill(7);
const ownKey = await nodeCrypto.generate();

export type Asked = Record<string, string>;

export async function scriptAdmin(answer?: (asked: Asked) => Reply | Promise<Reply>) {
  const asked: Asked[] = [];
  const http: Server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', async () => {
      const question = { ...JSON.parse(text), url: request.url };
      asked.push(question);
      const reply: Reply = (await answer?.(question)) ?? { status: 201, body: await enrolment(question) };
      response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers });
      response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body));
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const stop = async () => {
    http.closeAllConnections();
    http.close();
    await once(http, 'close');
  };
  return { url, asked, stop };
}

/** Of the installation. */
export const ROOT = await nodeCrypto.generate();
const tokenKey = await nodeCrypto.generate();

/** A token of that installation. */
export const TOKEN = tokenText('pp1', {
  id: 'e-test',
  seed: tokenKey.privateKey,
  fingerprint: await nodeCrypto.sha256(ROOT.publicKey),
});

export interface KeysSaid {
  root?: DeviceKey;
  /** The root before, where the device knows another one. */
  previous?: DeviceKey;
  signing?: Uint8Array[];
  revision?: number;
}

export async function signedKeys(
  serverKey: DeviceKey,
  { root = ROOT, previous, signing = [serverKey.publicKey], revision = 1 }: KeysSaid = {},
): Promise<SignedServerKeys> {
  const body = encodeServerKeys({ root: root.publicKey, signing, epoch: 1, revision, issuedAt: 1 });
  const bytes = serverKeysBytes(body);
  return {
    body,
    sig: await nodeCrypto.sign(root.privateKey, bytes),
    ...(previous && { previousSig: await nodeCrypto.sign(previous.privateKey, bytes) }),
  };
}

export interface Said extends Partial<Omit<Enrolled, 'membership' | 'list' | 'gateways'>> {
  membership?: Partial<MembershipOrder>;
  /** The signed list, the best first; none where it is empty. */
  gateways?: GatewayAddress[];
  /** What the list says else, and who signs it. */
  list?: Partial<GatewaysOrder>;
  listKey?: DeviceKey;
  /** Fields of the body as they are. */
  raw?: object;
  /** Who signs the answer and the membership. */
  serverKey?: DeviceKey;
  /** Of the device; what the request says. */
  key?: Uint8Array;
  /** The documents that it brings, the newest last. */
  keys?: KeysSaid | KeysSaid[];
  /** The device secret that it brings. */
  deviceSecret?: Uint8Array;
  /** It says what no server would encode. */
  unchecked?: boolean;
}

const GATEWAYS = [{ name: 'gw-1', url: 'ws://127.0.0.1:1' }];
/** Every list is newer than those before it. */
let lists = 1_000;

/** The body of a good answer (E-3) to what was asked. */
export async function enrolment(asked: Asked, said: Said = {}) {
  const { serverKey = ownKey, keys, membership, key, unchecked, gateways = GATEWAYS, ...other } = said;
  const { list, listKey = serverKey, raw, deviceSecret = SECRET, ...more } = other;
  const question = fromBase64url(asked.body);
  const { publicKey, sealTo: to } = decodeEnrolRequest(question);
  const request = await hashOf(asked);
  const { deviceId = 'dev-1' } = more;
  const enrolled = {
    deviceId,
    installation: 'i-test',
    generation: 1,
    secret: await sealTo({
      platform: nodeCrypto,
      publicKey: to,
      info: sealedSecretBytes(request),
      message: deviceSecret,
    }),
    membership: await signedMembership(serverKey, {
      ...{ target: { device: deviceId }, key: key ?? publicKey },
      ...membership,
    }),
    ...(gateways.length > 0 && { list: await signedList(listKey, gateways, list) }),
    gateways: gateways.map(({ name }) => name),
    ...more,
    ...raw,
  };
  const body = unchecked ? encodeValue({ kind: 'enrolled', ...enrolled }) : encodeEnrolled(enrolled);
  const sig = await nodeCrypto.sign(serverKey.privateKey, enrolledBytes(request, body));
  const documents = await Promise.all([keys ?? {}].flat().map((each) => signedKeys(serverKey, each)));
  return { keys: documents.map(textOf), body: toBase64url(body), sig: toBase64url(sig) };
}

/** A refusal that ends an enrolment (E-6). */
export async function refusal(asked: Asked, status: number, code: string, detail: string): Promise<Reply> {
  const request = await hashOf(asked);
  const sig = await nodeCrypto.sign(ownKey.privateKey, refusedBytes(request, code, detail));
  const keys = [textOf(await signedKeys(ownKey))];
  return { status, body: { code, detail, keys, sig: toBase64url(sig) } };
}

function hashOf({ body, tokenSig, deviceSig }: Asked): Promise<Uint8Array> {
  const [request, byToken, byDevice] = [body, tokenSig, deviceSig].map((each) => fromBase64url(each));
  return nodeCrypto.sha256(Buffer.concat([request, byToken, byDevice] as Uint8Array[]));
}

async function signedMembership(serverKey: DeviceKey, said: Partial<MembershipOrder>) {
  const body = encodeOrderBody({
    kind: 'membership',
    target: { device: 'dev-1' },
    state: 'active',
    groups: ['root'],
    epoch: 1,
    revision: 1,
    issuedAt: 1,
    ...said,
  });
  return { body, sig: await nodeCrypto.sign(serverKey.privateKey, orderBytes(body)) };
}

async function signedList(
  serverKey: DeviceKey,
  gateways: GatewayAddress[],
  said: Partial<GatewaysOrder> = {},
): Promise<SignedOrder> {
  const body = encodeOrderBody({
    kind: 'gateways',
    target: { group: 'root' },
    ...{ epoch: 1, revision: ++lists, issuedAt: 1 },
    gateways,
    ...said,
  });
  return { body, sig: await nodeCrypto.sign(serverKey.privateKey, orderBytes(body)) };
}

export function textOf(document: SignedServerKeys): Record<string, string> {
  return Object.fromEntries(Object.entries(document).map(([name, bytes]) => [name, toBase64url(bytes)]));
}

function orderText({ body, sig }: SignedOrder): Record<keyof SignedOrder, string> {
  return { body: toBase64url(body), sig: toBase64url(sig) };
}

const CHALLENGE = toBase64url(new Uint8Array(38).fill(7));

/**
 * A good answer to a device that asks where to go (G-16): a challenge first, and the list to who signed that.
 */
export async function located(
  serverKey: DeviceKey,
  deviceKey: DeviceKey,
  { device = '', nonce: text = '', challenge, proof }: Asked,
  gateways: GatewayAddress[],
  {
    documents = [firstKeys(serverKey)],
    ...said
  }: Pick<Said, 'membership' | 'list'> & { documents?: readonly SignedServerKeys[] } = {},
): Promise<Reply> {
  if (challenge === undefined) return { status: 200, body: { challenge: CHALLENGE } };
  const nonce = fromBase64url(text, 32);
  const signed = locateBytes(nonce, CHALLENGE, device);
  if (!(await nodeCrypto.verify(deviceKey.publicKey, signed, fromBase64url(proof, 64)))) {
    return { status: 401, body: { detail: 'the proof does not verify' } };
  }
  const key = deviceKey.publicKey;
  const membership = await signedMembership(serverKey, { target: { device }, key, ...said.membership });
  const list = gateways.length > 0 ? await signedList(serverKey, gateways, said.list) : undefined;
  const names = gateways.map(({ name }) => name);
  const sig = await nodeCrypto.sign(serverKey.privateKey, locatedBytes(nonce, device, names, list?.body));
  const orders = { membership: orderText(membership), ...(list && { list: orderText(list) }) };
  return {
    status: 200,
    body: { keys: documents.map(textOf), ...orders, gateways: names, sig: toBase64url(sig) },
  };
}
