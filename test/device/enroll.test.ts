import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DeviceState, EnrollError, enroll, MemoryStore, nodeCrypto } from '../../device/index.ts';
import { silent } from '../../device/log.ts';
import { fromBase64url, toBase64url } from '../../device/platform/base64url.ts';
import { decodeOrderBody, enrolBytes, LIMITS } from '../../protocol/index.ts';
import { enrolment, scriptAdmin } from './script-admin.ts';

function revisionOf({ membership }: DeviceState): number {
  const order = decodeOrderBody(membership?.body ?? new Uint8Array());
  return order?.kind === 'membership' ? order.revision : 0;
}

const about = { token: 'secret', name: 'till-7' };

test('E-1, E-2, E-4: a device proves the key it makes, and keeps what the answer says', async () => {
  const s = await scriptAdmin();
  const store = new MemoryStore();
  const identity = await enroll({ ...about, server: s.url, store });
  assert.is(identity.deviceId, 'dev-1');
  const asked = s.asked[0] as Record<string, string>;
  assert.is(asked.url, '/v1/enroll');
  const publicKey = fromBase64url(asked.publicKey, 32);
  assert.ok(
    await nodeCrypto.verify(publicKey, enrolBytes('secret', publicKey), fromBase64url(asked.proof, 64)),
  );
  assert.is(asked.name, 'till-7');
  const { state } = await store.load();
  assert.equal(state.key?.publicKey, publicKey);
  const secret = toBase64url(state.key?.privateKey as Uint8Array);
  assert.not(JSON.stringify(asked).includes(secret), 'the private key stays');
  assert.is(state.gateways.length, 1);
  assert.equal([state.identity?.installation, state.identity?.epoch], ['i-test', 1]);
  await enroll({ ...about, server: s.url, store });
  assert.is(s.asked.length, 1, 'an enrolled device does not ask again');
  await s.stop();
});

test('E-2: a token that comes with the end of its line is the token', async () => {
  const s = await scriptAdmin();
  await enroll({ ...about, token: ' secret\r\n', server: s.url, store: new MemoryStore() });
  const { token, publicKey, proof } = s.asked[0] as Record<string, string>;
  assert.is(token, 'secret');
  const key = fromBase64url(publicKey, 32);
  assert.ok(await nodeCrypto.verify(key, enrolBytes('secret', key), fromBase64url(proof, 64)));
  await s.stop();
});

test('E-5: a device that lost the answer asks again with the same key', async () => {
  const s = await scriptAdmin();
  const flaky = await scriptAdmin(() => ({
    status: 503,
    headers: { 'retry-after': '3' },
    body: { detail: 'later' },
  }));
  const store = new MemoryStore();
  const error = await enroll({ ...about, server: flaky.url, store }).catch((e) => e);
  assert.instance(error, EnrollError);
  assert.is(error.temporary, true);
  assert.is(error.retryAfterMs, 3_000);
  await enroll({ ...about, server: s.url, store });
  assert.is(s.asked[0]?.publicKey, flaky.asked[0]?.publicKey);
  await s.stop();
  await flaky.stop();
});

test('E-5: as another device it takes any membership, and keeps ids and the floor', async () => {
  const serverKey = await nodeCrypto.generate();
  let answer = await enrolment(serverKey, { deviceId: 'dev-1', revision: 7, issuedAt: 5_000 });
  const s = await scriptAdmin(() => ({ status: 201, body: answer }));
  const store = new MemoryStore();
  await enroll({ ...about, server: s.url, store });
  const outcome = { state: 'succeeded' as const };
  await store.append([{ put: { id: 'c1', issuedAt: 1, expiresAt: 9_000, state: 'finished', outcome } }]);
  answer = await enrolment(serverKey, { deviceId: 'dev-1', revision: 6, issuedAt: 4_000 });
  await enroll({ ...about, server: s.url, store, again: true });
  const same = await store.load();
  assert.is(same.executions[0]?.state, 'finished');
  assert.is(revisionOf(same.state), 7, 'S-7: an older membership is not taken');
  answer = await enrolment(serverKey, { deviceId: 'dev-2', revision: 1, issuedAt: 4_000 });
  assert.is((await enroll({ ...about, server: s.url, store, again: true })).deviceId, 'dev-2');
  const other = await store.load();
  assert.equal(other.executions, [{ id: 'c1', issuedAt: 1, expiresAt: 9_000, state: 'settled' }]);
  assert.is(revisionOf(other.state), 1);
  assert.equal(other.marks, { issuedAt: 5_000 });
  assert.equal(other.state.key, same.state.key);
  await s.stop();
});

test('E-6: a refusal is final and shows what the server says; no answer is not', async () => {
  const s = await scriptAdmin(() => ({
    status: 410,
    body: { code: 'gone', detail: 'the token has expired' },
  }));
  const refused = await enroll({ ...about, server: s.url, store: new MemoryStore() }).catch((e) => e);
  assert.is(refused.message, 'the token has expired');
  assert.is(refused.code, 'gone');
  assert.is(refused.temporary, false);
  await s.stop();
  const gone = await enroll({ ...about, server: s.url, store: new MemoryStore() }).catch((e) => e);
  assert.is(gone.temporary, true);
});

test('E-6: only refusals of the server itself are final, whatever a host on the way answers', async () => {
  let answer: { status: number; headers?: Record<string, string>; body: unknown } = { status: 0, body: '' };
  const s = await scriptAdmin(() => answer);
  const outcome = async (status: number, body: unknown, headers = {}) => {
    answer = { status, body, headers };
    const error = await enroll({ ...about, server: s.url, store: new MemoryStore() }).catch((e) => e);
    assert.instance(error, EnrollError, `${status} ${body}`);
    return error.temporary ? 'again' : 'final';
  };
  const html = { 'content-type': 'text/html' };
  for (const status of [200, 201, 400, 401, 403, 404, 409, 410, 451, 500, 511]) {
    assert.is(await outcome(status, '<html>Log in</html>', html), 'again', `${status} and a page`);
    for (const body of ['null', '[]', '7', {}, { code: 'blocked' }]) {
      assert.is(await outcome(status, body), 'again', `${status} ${JSON.stringify(body)}`);
    }
  }
  assert.is(await outcome(302, '', { location: 'http://127.0.0.1:1/login' }), 'again');
  assert.is(await outcome(403, { code: 'unauthorized' }), 'again');
  for (const [status, code] of [
    [400, 'bad-request'],
    [401, 'unauthorized'],
    [409, 'conflict'],
    [410, 'gone'],
  ] as const) {
    assert.is(await outcome(status, { code }), 'final');
  }
  await s.stop();
});

test('E-3: an answer that is not as it should be is not kept', async () => {
  const good = await enrolment(await nodeCrypto.generate());
  for (const body of [
    'no json',
    {},
    { ...good, deviceId: 'dev-2' },
    { ...good, installation: undefined },
    { ...good, epoch: 0 },
    { ...good, serverKey: toBase64url((await nodeCrypto.generate()).publicKey) },
    { ...good, gateways: [{ name: '!', url: 'x' }] },
  ]) {
    const s = await scriptAdmin(() => ({ status: 201, body }));
    const store = new MemoryStore();
    const error = await enroll({ ...about, server: s.url, store }).catch((e) => e);
    assert.instance(error, EnrollError);
    assert.is(error.temporary, true, 'E-6: it may be from somebody on the way');
    assert.is((await store.load()).state.identity, undefined);
    await s.stop();
  }
});

test('E-3: a gateway whose url is none is skipped, and the others are taken', async () => {
  const good = { name: 'gw-1', url: 'wss://gw-1.example.net' };
  const bad = [
    { name: 'gw-2', url: 'wss://[gw-2' },
    { name: '!', url: 'wss://gw-3.example.net' },
    { name: 'gw-4', url: `wss://${'x'.repeat(LIMITS.urlLength)}` },
  ];
  const serverKey = await nodeCrypto.generate();
  let gateways = [...bad, good];
  const s = await scriptAdmin(async () => ({ status: 201, body: await enrolment(serverKey, { gateways }) }));
  const warned: unknown[] = [];
  const log = {
    ...silent,
    warn: (fields: object) => void warned.push((fields as { gateway: unknown }).gateway),
  };
  const store = new MemoryStore();
  await enroll({ ...about, server: s.url, store, log });
  assert.equal((await store.load()).state.gateways, [good]);
  assert.equal(warned, bad);
  gateways = bad;
  const error = await enroll({ ...about, server: s.url, store: new MemoryStore() }).catch((e) => e);
  assert.match(error.message, /none of 3 has a name and a url/);
  assert.is(error.temporary, true);
  await s.stop();
});

test('E-4: the pinned key of the server does not change when a device enrols again', async () => {
  const s = await scriptAdmin();
  const store = new MemoryStore();
  await enroll({ ...about, server: s.url, store });
  const { state } = await store.load();
  const other = new MemoryStore({
    ...state,
    identity: { ...(state.identity as NonNullable<typeof state.identity>), serverKey: new Uint8Array(32) },
  });
  const error = await enroll({ ...about, server: s.url, store: other, again: true }).catch((e) => e);
  assert.match(error.message, /E-4/);
  await s.stop();
});

test.run();
