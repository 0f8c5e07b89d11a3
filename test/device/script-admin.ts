/** An administration server of which there is only the enrolment: it enrols everybody, or answers what the test says. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toBase64url } from '../../device/base64url.ts';
import { type DeviceKey, nodeCrypto } from '../../device/index.ts';
import { encodeOrderBody, type GatewayAddress, orderBytes } from '../../protocol/index.ts';

interface Reply {
  status: number;
  headers?: Record<string, string>;
  body: unknown;
}

const ownKey = await nodeCrypto.generate();

export async function scriptAdmin(answer?: () => Reply | Promise<Reply>) {
  const asked: Record<string, string>[] = [];
  const http: Server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', async () => {
      asked.push({ ...JSON.parse(text), url: request.url });
      const reply: Reply = (await answer?.()) ?? { status: 201, body: await enrolment(ownKey) };
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
    revision = 1,
    issuedAt = 1,
  }: { gateways?: GatewayAddress[]; deviceId?: string; revision?: number; issuedAt?: number } = {},
) {
  const body = encodeOrderBody({
    kind: 'membership',
    target: { device: deviceId },
    groups: ['root'],
    revision,
    issuedAt,
  });
  const sig = await nodeCrypto.sign(serverKey.privateKey, orderBytes(body));
  return {
    deviceId,
    serverKey: toBase64url(serverKey.publicKey),
    gateways,
    membership: { body: toBase64url(body), sig: toBase64url(sig) },
    revision,
  };
}
