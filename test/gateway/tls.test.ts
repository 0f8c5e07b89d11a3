import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { wsLegDial } from '../../device/index.ts';
import { decodeGatewayMessage, SUBPROTOCOL, TUNNEL_CLOSE } from '../../protocol/index.ts';
import { Rig, ROOT, withRig } from './rig.ts';

/** Self-signed for localhost, made for this test and used nowhere else. */
const CERT = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUReM1CmlwftroimLDCQoLIG4Uk3AwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjAxMjgzMFoYDzIxMjYxMDI5
MDEyODMwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASSsnUVK7msSexYNiSPrgWRb/ibrZlpKwpyvKwzN1Bt+hxGqGSgEwfh
hkgajB/Ntz2BSLzpaozp2Pbtwu0Jmp2Yo28wbTAdBgNVHQ4EFgQUwn58i2wclGti
bwDIYg6EwJs7e5cwHwYDVR0jBBgwFoAUwn58i2wclGtibwDIYg6EwJs7e5cwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgAoIJ6LTnJ1zUWSUpl/z+/pcOccgwKGUizlmDm6+zKVgCIQD0
eHY/27thZ0lQ1eIfizkwh510wwnOBGKyBgFPcRSy1w==
-----END CERTIFICATE-----
`;
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg31UXsUDY4V+3lxC9
EF1VvEYFkE0CodVubQs6sqOQ4gihRANCAASSsnUVK7msSexYNiSPrgWRb/ibrZlp
KwpyvKwzN1Bt+hxGqGSgEwfhhkgajB/Ntz2BSLzpaozp2Pbtwu0Jmp2Y
-----END PRIVATE KEY-----
`;

let folder = '';
const file = (name: string) => path.join(folder, name);

test.before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'pushpoint-tls-'));
  writeFileSync(file('cert.pem'), CERT);
  writeFileSync(file('key.pem'), KEY);
  writeFileSync(file('broken.pem'), 'not a certificate');
});

test.after(() => rmSync(folder, { recursive: true, force: true }));

const config = () => ({
  initial: { group: ROOT, port: 0, address: 'wss://127.0.0.1:0' },
  tls: { certFile: file('cert.pem'), keyFile: file('key.pem') },
});

test('F-1: a gateway with a certificate serves wss', () =>
  withRig({ config: config() }, async (rig) => {
    const socket = new WebSocket(rig.url.replace('ws:', 'wss:'), SUBPROTOCOL, { ca: CERT });
    const first = await new Promise<Buffer>((resolve, reject) => {
      socket.once('message', resolve);
      socket.once('error', reject);
    });
    assert.is(decodeGatewayMessage(new Uint8Array(first))?.t, 'challenge');
    socket.terminate();
  }));

test('T-1: legs of tunnels come by wss, and trust no other certificate', () =>
  withRig({ config: config() }, async (rig) => {
    const closed = (ca?: string) =>
      new Promise<{ code: number; reason: string; texts: string[] }>((resolve) => {
        const texts: string[] = [];
        const leg = wsLegDial(ca ? { ca } : {})(new URL('/tunnel', rig.url.replace('ws:', 'wss:')).href, {
          opened: () => {
            const who = { tunnel: 'u000000000000000none', worker: 0, side: 'operator' };
            leg.sendText(JSON.stringify({ t: 'resume', ...who, secret: 'A'.repeat(43) }));
          },
          text: (text) => texts.push(text),
          binary: () => {},
          closed: ({ code, reason }) => resolve({ code, reason, texts }),
        });
      });
    assert.equal(await closed(CERT), {
      code: TUNNEL_CLOSE.refused,
      reason: 'unknown-tunnel',
      texts: ['{"t":"refused","reason":"unknown-tunnel"}'],
    });
    const refused = await closed();
    assert.is(refused.code, 1006);
    assert.match(refused.reason, /self.signed/);
  }));

test('TLS 1.2 is served with forward secrecy and authenticated encryption only', () =>
  withRig({ config: config() }, async (rig) => {
    const connect = (ciphers: string) =>
      new Promise<string>((resolve) => {
        const options = {
          host: '127.0.0.1',
          port: rig.worker.port,
          ca: CERT,
          maxVersion: 'TLSv1.2' as const,
        };
        const socket = tls.connect({ ...options, ciphers }, () => {
          resolve(socket.getCipher().name);
          socket.destroy();
        });
        socket.once('error', () => resolve('refused'));
      });
    assert.is(await connect('ECDHE-ECDSA-AES128-GCM-SHA256'), 'ECDHE-ECDSA-AES128-GCM-SHA256');
    assert.is(await connect('ECDHE-ECDSA-AES128-SHA'), 'refused');
    assert.is(await connect('AES128-SHA'), 'refused');
  }));

test('TLS files that are missing or broken are an error before anything listens', () => {
  for (const certFile of ['broken.pem', 'missing.pem']) {
    const tlsFiles = { certFile: file(certFile), keyFile: file('key.pem') };
    assert.throws(() => new Rig({ config: { ...config(), tls: tlsFiles } }), /TLS files .* are not usable/);
  }
});

test.run();
