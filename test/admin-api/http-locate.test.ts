import { createPublicKey, randomBytes, sign, verify } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DeviceSecrets } from '../../admin-api/device-secrets.ts';
import type { Problem } from '../../admin-api/problems.ts';
import { LocateService } from '../../admin-api/services/locate-service.ts';
import { decodeOrderBody, locateBytes, locatedBytes, orderBytes } from '../../protocol/index.ts';
import { readEnrolled } from '../enrolment.ts';
import { type DeviceKeys, enrolBody, type Http, makeDeviceKeys, startHttp } from './http-harness.ts';

let http: Http;
test.before(async () => {
  http = await startHttp({ failedEnrolmentsPerMinute: 8 });
});
test.after(() => http.stop());

const post = (body: unknown) => http.call('POST', '/v1/locate', { as: null, body });

async function enrolled(keys = makeDeviceKeys()) {
  const { token } = (await http.call('POST', '/v1/enrolment-tokens', { body: {} })).body;
  const body = await enrolBody(token, keys);
  const answer = await http.call('POST', '/v1/enroll', { as: null, body });
  const { deviceId: id, serverKeys } = readEnrolled(answer.body);
  return { keys, id, serverKey: Buffer.from(serverKeys.signing[0] ?? []).toString('base64url') };
}

async function challenge(device: string, nonce: Buffer): Promise<string> {
  const { status, body } = await post({ device, nonce: nonce.toString('base64url') });
  assert.is(status, 200);
  return body.challenge;
}

function proven(device: string, nonce: Buffer, text: string, { privateKey }: DeviceKeys) {
  const proof = sign(null, locateBytes(nonce, text, device), privateKey).toString('base64url');
  return { device, nonce: nonce.toString('base64url'), challenge: text, proof };
}

async function ask(device: string, keys: DeviceKeys) {
  const nonce = randomBytes(32);
  return { nonce, answer: await post(proven(device, nonce, await challenge(device, nonce), keys)) };
}

test('G-16: a device that proves its key is told its gateways, signed for its own question', async () => {
  const { id, keys, serverKey } = await enrolled();
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: serverKey }, format: 'jwk' });
  const isSigned = (bytes: Uint8Array, sig: string) =>
    verify(null, bytes, key, Buffer.from(sig, 'base64url'));
  const nowhere = await ask(id, keys);
  assert.equal([nowhere.answer.body.list, nowhere.answer.body.gateways], [undefined, []]);
  assert.ok(isSigned(locatedBytes(nowhere.nonce, id, []), nowhere.answer.body.sig));
  http.clock.offsetMs += 5_000;
  await http.serves('gw1', 'ws://127.0.0.1:13295');
  const { nonce, answer } = await ask(id, keys);
  assert.is(answer.status, 200);
  const { membership, list, gateways, sig } = answer.body;
  assert.equal(gateways, ['gw1']);
  const body = Buffer.from(list.body, 'base64url');
  const order = decodeOrderBody(body);
  assert.ok(order?.kind === 'gateways');
  assert.equal(order.target, { group: 'all' });
  assert.equal(order.gateways, [{ name: 'gw1', url: 'ws://127.0.0.1:13295' }]);
  assert.ok(isSigned(orderBytes(body), list.sig));
  assert.ok(isSigned(locatedBytes(nonce, id, gateways, body), sig));
  const its = decodeOrderBody(Buffer.from(membership.body, 'base64url'));
  assert.equal([its?.kind, its?.target], ['membership', { device: id }]);
  assert.ok(isSigned(orderBytes(Buffer.from(membership.body, 'base64url')), membership.sig));
});

test('G-16: a challenge is good for a minute, for one device and nonce', async () => {
  const { id, keys } = await enrolled();
  const nonce = randomBytes(32);
  const text = await challenge(id, nonce);
  assert.is((await post(proven(id, randomBytes(32), text, keys))).status, 401);
  assert.is(
    (
      await post(
        proven(id, nonce, `${text.slice(0, 20)}${text[20] === 'A' ? 'B' : 'A'}${text.slice(21)}`, keys),
      )
    ).status,
    401,
  );
  http.clock.offsetMs += 61_000;
  assert.is((await post(proven(id, nonce, text, keys))).status, 401);
  assert.is((await ask(id, keys)).answer.status, 200);
});

test('G-16: strangers and blocked devices learn nothing; an address that fails often must wait', async () => {
  http.clock.offsetMs += 61_000;
  const { id, keys } = await enrolled();
  assert.is((await ask(id, makeDeviceKeys())).answer.status, 401);
  assert.is((await ask('nobody', keys)).answer.status, 401);
  await http.call('PATCH', `/v1/devices/${id}`, { body: { blocked: true } });
  assert.is((await ask(id, keys)).answer.status, 409);
  assert.is((await post({ device: id, nonce: 'x'.repeat(43), challenge: 'x'.repeat(51) })).status, 400);
  assert.is((await post({ device: 'x'.repeat(2_000), nonce: '' })).status, 413);
  // What is malformed counts as well.
  for (let i = 0; i < 4; i++) await ask(id, makeDeviceKeys());
  const refused = await post({ device: id, nonce: randomBytes(32).toString('base64url') });
  assert.is(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
});

test('G-16: a device is answered once in five seconds', async () => {
  http.clock.offsetMs += 61_000;
  const { id, keys } = await enrolled();
  assert.is((await ask(id, keys)).answer.status, 200);
  const again = (await ask(id, keys)).answer;
  assert.is(again.status, 429);
  assert.is(again.headers.get('retry-after'), '5');
  http.clock.offsetMs += 5_000;
  assert.is((await ask(id, keys)).answer.status, 200);
});

test('G-16: all devices together get 200 answers a second; others get different times to retry', async () => {
  let now = 0;
  const { serverKeys, store, workers: leases, projector: directory } = http;
  const secrets = await DeviceSecrets.load(store.meta);
  const service = new LocateService({ serverKeys, secrets, store, leases, directory, now: () => now });
  const nonce = randomBytes(32);
  const proof = new Uint8Array(64);
  const question = (n: number) => ({ device: `stranger-${n}`, nonce });
  const asked = (count: number, challengeOf: (n: number) => string) =>
    Promise.all(
      Array.from({ length: count }, async (_, n) => {
        const request = { ...question(n), challenge: challengeOf(n), proof };
        return service.locate(request).then(
          () => assert.unreachable('answered'),
          (error: Problem) => error,
        ) as Promise<Problem>;
      }),
    );
  const refusals = async (count: number) =>
    (await asked(count, (n) => service.challenge(question(n)))).flatMap((problem) =>
      problem.code === 'too-many-requests' ? [problem.retryAfter ?? 0] : [],
    );
  // Neither challenges nor what answers none take anything from those who prove their key.
  for (let n = 0; n < 1_000; n++) service.challenge(question(n));
  assert.ok((await asked(1_000, () => 'x'.repeat(51))).every(({ code }) => code === 'unauthorized'));
  assert.is((await refusals(200)).length, 0);
  const told = await refusals(100);
  assert.is(told.length, 100);
  assert.ok(Math.min(...told) >= 5 && Math.max(...told) <= 60);
  assert.ok(new Set(told).size > 10);
  now = 500;
  assert.is((await refusals(150)).length, 50);
});

test.run();
