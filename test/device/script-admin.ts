/**
 * An administration server that only enrols and tells devices where to go: everybody, or as the test says.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type DeviceKey, nodeCrypto } from '../../device/index.ts';
import { fromBase64url, toBase64url } from '../../device/platform/base64url.ts';
import {
  encodeOrderBody,
  type GatewayAddress,
  locateBytes,
  locatedBytes,
  type MembershipState,
  orderBytes,
} from '../../protocol/index.ts';

interface Reply {
  status: number;
  headers?: Record<string, string>;
  body: unknown;
}

/** Of every device it enrols. */
export const SECRET = new Uint8Array(32).fill(7);
const ownKey = await nodeCrypto.generate();

type Asked = Record<string, string>;

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
      const reply: Reply = (await answer?.(question)) ?? { status: 201, body: await enrolment(ownKey) };
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

/** The body of a good answer (E-3). */
export async function enrolment(
  serverKey: DeviceKey,
  {
    gateways = [{ name: 'gw-1', url: 'ws://127.0.0.1:1' }],
    deviceId = 'dev-1',
    state = 'active',
    epoch = 1,
    revision = 1,
    issuedAt = 1,
    installation = 'i-test',
    key = serverKey.publicKey,
  }: {
    key?: Uint8Array;
    gateways?: GatewayAddress[];
    installation?: string;
    deviceId?: string;
    state?: MembershipState;
    epoch?: number;
    revision?: number;
    issuedAt?: number;
  } = {},
) {
  const body = encodeOrderBody({
    kind: 'membership',
    target: { device: deviceId },
    state,
    key,
    groups: ['root'],
    epoch,
    revision,
    issuedAt,
  });
  const sig = await nodeCrypto.sign(serverKey.privateKey, orderBytes(body));
  return {
    deviceId,
    installation,
    epoch,
    serverKey: toBase64url(serverKey.publicKey),
    secret: toBase64url(SECRET),
    generation: 1,
    gateways,
    membership: { body: toBase64url(body), sig: toBase64url(sig) },
    revision,
  };
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
): Promise<Reply> {
  if (challenge === undefined) return { status: 200, body: { challenge: CHALLENGE } };
  const nonce = fromBase64url(text, 32);
  const signed = locateBytes(nonce, CHALLENGE, device);
  if (!(await nodeCrypto.verify(deviceKey.publicKey, signed, fromBase64url(proof, 64)))) {
    return { status: 401, body: { detail: 'the proof does not verify' } };
  }
  const sig = await nodeCrypto.sign(serverKey.privateKey, locatedBytes(nonce, device, gateways));
  return { status: 200, body: { gateways, sig: toBase64url(sig) } };
}
