import { createHash, randomBytes, sign } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DeviceSecrets } from '../../admin-api/device-secrets.ts';
import { holdsKey } from '../../admin-api/key-proof.ts';
import { rankGateways } from '../../bus/ranking.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import {
  decodeOrderBody,
  decodeServerKeys,
  encodeKeyRotation,
  enrolledBytes,
  keyRotationBytes,
  openServerKeys,
  orderBytes,
  parseToken,
  refusedBytes,
  type TokenParts,
  tokenText,
} from '../../protocol/index.ts';
import { enrolRequest, readEnrolled, secretOf } from '../enrolment.ts';
import { NOT_CANONICAL, SMALL_ORDER_ED25519, SMALL_ORDER_X25519 } from '../protocol/small-order.ts';
import { type DeviceKeys, enrolBody, type Http, makeDeviceKeys, startHttp } from './http-harness.ts';

let http: Http;
test.before(async () => {
  http = await startHttp({ failedEnrolmentsPerMinute: 1000 });
  await http.call('POST', '/v1/groups', { body: { id: 'berlin', name: 'Berlin' } });
});
test.after(() => http.stop());

async function makeToken(body: object = {}) {
  const answer = await http.call('POST', '/v1/enrolment-tokens', { body });
  assert.is(answer.status, 201);
  return answer.body;
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64url'));

const post = (body: unknown) => http.call('POST', '/v1/enroll', { as: null, body });

/** The answer, with what it says in place of its body where it is 201. */
async function enroll(token: string, keys: DeviceKeys, more: object = {}) {
  const answer = await post(await enrolBody(token, keys, more));
  return answer.status === 201 ? { ...answer, body: readEnrolled(answer.body) } : answer;
}

const otherToken = (token: string, change: Partial<TokenParts>): string =>
  tokenText('pp1', { ...(parseToken('pp1', token) as TokenParts), ...change });

test('an enrolment token is made, read, listed without itself, and revoked', async () => {
  const { token, ...record } = await makeToken({ groupId: 'berlin', uses: 3, ttl: 60, note: 'kiosks' });
  assert.match(token, /^pp1\.e[a-z0-9]{15}\.[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}$/);
  assert.is(record.usesLeft, 3);
  assert.is(Date.parse(record.expiresAt) - Date.parse(record.createdAt), 60_000);
  assert.equal((await http.call('GET', `/v1/enrolment-tokens/${record.id}`)).body, record);
  const { items } = (await http.call('GET', '/v1/enrolment-tokens')).body;
  assert.equal(
    items.find((item: { id: string }) => item.id === record.id),
    record,
  );
  assert.is((await http.call('DELETE', `/v1/enrolment-tokens/${record.id}`)).status, 204);
  assert.is((await http.call('DELETE', `/v1/enrolment-tokens/${record.id}`)).status, 204);
  assert.ok((await http.call('GET', `/v1/enrolment-tokens/${record.id}`)).body.revokedAt);
  assert.is((await http.call('GET', '/v1/enrolment-tokens/nobody')).status, 404);
  assert.is((await http.call('DELETE', '/v1/enrolment-tokens/nobody')).status, 404);
});

test('a token is for a group that exists, for one device and one day unless it says otherwise', async () => {
  const made = await makeToken();
  assert.is(made.usesMax, 1);
  assert.is(made.groupId, 'all');
  assert.is(Date.parse(made.expiresAt) - Date.parse(made.createdAt), 86_400_000);
  assert.is((await http.call('POST', '/v1/enrolment-tokens', { body: { groupId: 'nowhere' } })).status, 422);
});

test('E-3: a device that enrols gets its id, the key to pin, gateways and a membership', async () => {
  await http.serves('gw-all', 'wss://all.example.net:13295');
  await http.serves('gw-berlin', 'wss://berlin.example.net:13295', 'berlin');
  await http.serves('gw-drained', 'wss://drained.example.net:13295');
  await http.call('POST', '/v1/gateways/gw-drained/drain');
  await http.call('POST', '/v1/gateways', {
    body: { name: 'gw-never', address: 'wss://never.example.net:13295' },
  });
  await http.call('POST', '/v1/gateways', {
    body: { name: 'gw-off', groupId: 'berlin', address: 'wss://off.example.net:1', runPushServer: false },
  });
  const { token } = await makeToken({ groupId: 'berlin' });
  const keys = makeDeviceKeys();
  const request = await enrolRequest(token, keys);
  const answer = await post(request.json);
  assert.is(answer.status, 201);
  const { keys: documents, body, sig } = answer.body;
  assert.is(documents.length, 1);
  const [document] = documents;
  const signedKeys = { body: bytes(document.body), sig: bytes(document.sig) };
  const serverKeys = await openServerKeys(signedKeys, holdsKey);
  assert.ok(serverKeys, 'K-2: the root signed them');
  const { fingerprint } = parseToken('pp1', token) as TokenParts;
  assert.equal(createHash('sha256').update(serverKeys.root).digest(), Buffer.from(fingerprint));
  const [signing] = serverKeys.signing as [Uint8Array];
  assert.ok(holdsKey(signing, enrolledBytes(request.hash, bytes(body)), bytes(sig)));
  const said = readEnrolled(answer.body);
  assert.equal(
    said.gateways,
    rankGateways(said.deviceId, [
      { name: 'gw-all', weight: 0 },
      { name: 'gw-berlin', weight: 0 },
      { name: 'gw-drained', weight: 0, draining: true },
    ]).map(({ name }) => name),
  );
  assert.ok(holdsKey(signing, orderBytes(said.membership.body), said.membership.sig));
  const order = decodeOrderBody(said.membership.body);
  assert.equal(order?.kind === 'membership' && [order.target.device, order.groups], [
    said.deviceId,
    ['all', 'berlin'],
  ]);
  const list = said.list && decodeOrderBody(said.list.body);
  assert.ok(list?.kind === 'gateways' && said.list);
  assert.ok(holdsKey(signing, orderBytes(said.list.body), said.list.sig));
  assert.equal(
    [list.target, list.gateways.map(({ name }) => name)],
    [{ group: 'berlin' }, ['gw-all', 'gw-berlin', 'gw-drained']],
  );
  const { store } = http;
  const secrets = await DeviceSecrets.load(store.meta);
  assert.equal(Buffer.from(await secretOf(answer.body, request)), Buffer.from(secrets.of(said.deviceId, 1)));
  const other = await enrolRequest(token, keys);
  assert.ok(await secretOf(answer.body, { ...request, sealTo: other.sealTo }).catch(() => 'sealed'));
  const [entry] = await http.bus.directory.devices([said.deviceId]);
  assert.ok(entry, 'gateways know the device before it is answered');
});

test('E-5: enrolling again with the same key returns the same device and uses up no token', async () => {
  const { token, id } = await makeToken({ uses: 2 });
  const keys = makeDeviceKeys();
  const first = await enroll(token, keys);
  const second = await enroll(token, keys, { name: 'renamed' });
  assert.is(second.status, 201);
  assert.is(second.body.deviceId, first.body.deviceId);
  assert.is((await http.call('GET', `/v1/enrolment-tokens/${id}`)).body.usesLeft, 1);
  assert.is((await enroll(token, makeDeviceKeys())).status, 201);
  assert.is((await enroll(token, keys)).body.deviceId, first.body.deviceId, 'the token is used up');
});

test('E-5: enrolling again with another name renames the device, unless an operator did', async () => {
  const { token } = await makeToken();
  const keys = makeDeviceKeys();
  const { deviceId } = (await enroll(token, keys, { name: 'first' })).body;
  const nameNow = async () => (await http.call('GET', `/v1/devices/${deviceId}`)).body.name;
  assert.is(await nameNow(), 'first');
  await enroll(token, keys, { name: 'second\u0007' });
  assert.is(await nameNow(), 'second');
  await enroll(token, keys, { name: ' ' });
  assert.is(await nameNow(), 'second');
  await http.call('PATCH', `/v1/devices/${deviceId}`, { body: { name: 'by hand' } });
  await enroll(token, keys, { name: 'third' });
  assert.is(await nameNow(), 'by hand');
});

test('names that a device gives itself become events and do not grow the audit trail', async () => {
  const { token } = await makeToken();
  const keys = makeDeviceKeys();
  const { deviceId } = (await enroll(token, keys, { name: 'first' })).body;
  const audited = async () => (await http.store.audit.list({ limit: 200 })).items.length;
  const { last } = await http.store.events.bounds();
  const before = await audited();
  for (const name of ['a', 'b', 'c']) await enroll(token, keys, { name });
  assert.is(await audited(), before);
  const told = (await http.store.events.after(last, 100)).filter(({ type }) => type === 'device.renamed');
  assert.equal(
    told.map(({ data }) => data),
    ['a', 'b', 'c'].map((name) => ({ id: deviceId, name })),
  );
});

test('E-5: a device that asks twice at once is one device', async () => {
  const { token, id } = await makeToken({ uses: 2 });
  const keys = makeDeviceKeys();
  const answers = await Promise.all([enroll(token, keys), enroll(token, keys), enroll(token, keys)]);
  assert.is(new Set(answers.map((answer) => answer.body.deviceId)).size, 1);
  assert.is((await http.call('GET', `/v1/enrolment-tokens/${id}`)).body.usesLeft, 1);
});

test('a token enrols as many devices as it says, also when they all come at once', async () => {
  const { token } = await makeToken({ uses: 3 });
  const answers = await Promise.all(Array.from({ length: 6 }, () => enroll(token, makeDeviceKeys())));
  assert.equal(answers.map((answer) => answer.status).sort(), [201, 201, 201, 410, 410, 410]);
});

test('tokens that are used up, expired or revoked are gone, and say which', async () => {
  const usedUp = await makeToken();
  await enroll(usedUp.token, makeDeviceKeys());
  const revoked = await makeToken();
  await http.call('DELETE', `/v1/enrolment-tokens/${revoked.id}`);
  const expired = await makeToken({ ttl: 1 });
  for (const [token, word] of [
    [usedUp.token, 'used up'],
    [revoked.token, 'revoked'],
  ]) {
    const { status, body } = await enroll(token, makeDeviceKeys());
    assert.is(status, 410);
    assert.ok(body.detail.includes(word), body.detail);
  }
  http.clock.offsetMs = 2000;
  try {
    const { status, body } = await enroll(expired.token, makeDeviceKeys());
    assert.is(status, 410);
    assert.ok(body.detail.includes('expired'), body.detail);
  } finally {
    http.clock.offsetMs = 0;
  }
});

test('E-2: a request that token and device have not both signed enrols nobody', async () => {
  const { token, id } = await makeToken();
  const keys = makeDeviceKeys();
  const { json } = await enrolRequest(token, keys);
  const { json: byOther } = await enrolRequest(token, makeDeviceKeys());
  const noSeed = await enrolRequest(otherToken(token, { seed: randomBytes(32) }), keys);
  const swapped = { ...json, tokenSig: json.deviceSig, deviceSig: json.tokenSig };
  for (const request of [
    { ...json, deviceSig: byOther.deviceSig },
    { ...json, tokenSig: byOther.tokenSig },
    { ...json, body: byOther.body },
    { ...json, tokenSig: json.deviceSig },
    swapped,
    noSeed.json,
  ]) {
    const { status, body } = await post(request);
    assert.is(status, 401);
    assert.ok(body.sig, 'E-6: it says so to the device itself');
  }
  for (const change of [{ tokenSig: 'AAAA' }, { deviceSig: '*'.repeat(86) }, { body: 7 }, { body: '' }]) {
    assert.is((await post({ ...json, ...change })).status, 400, JSON.stringify(change));
  }
  assert.is((await http.call('GET', `/v1/enrolment-tokens/${id}`)).body.usesLeft, 1);
});

test('E-2: a request whose fields are not as they should be is refused with the rule', async () => {
  const { token } = await makeToken();
  for (const [more, rule] of [
    [{ kind: 'enrolled' }, 'F-6'],
    [{ token: '!' }, 'F-6'],
    [{ publicKey: Buffer.alloc(31) }, 'F-6'],
    [{ name: 'x'.repeat(1025) }, 'F-6'],
    [{ name: 7 }, 'F-6'],
  ] as const) {
    const { status, body } = await enroll(token, makeDeviceKeys(), more);
    assert.is(status, 400);
    assert.ok(body.detail.includes(rule), body.detail);
  }
});

test('E-8: keys of small order, or not canonical, enrol nobody', async () => {
  const { token, id } = await makeToken();
  for (const publicKey of [...SMALL_ORDER_ED25519, ...NOT_CANONICAL]) {
    const { status, body } = await enroll(token, makeDeviceKeys(), { publicKey });
    assert.is(status, 400);
    assert.match(body.detail, /E-8: publicKey/);
  }
  for (const sealTo of [...SMALL_ORDER_X25519, ...NOT_CANONICAL]) {
    const { status, body } = await enroll(token, makeDeviceKeys(), { sealTo });
    assert.is(status, 400);
    assert.match(body.detail, /E-8: sealTo/);
  }
  // Good for any signature that is all zeros after the identity: nobody needs a private key for it.
  const identity = Uint8Array.from([1, ...new Uint8Array(31)]);
  const request = await enrolRequest(token, makeDeviceKeys(), { publicKey: identity });
  const deviceSig = Buffer.concat([identity, Buffer.alloc(32)]).toString('base64url');
  assert.is((await post({ ...request.json, deviceSig })).status, 400);
  assert.is((await http.call('GET', `/v1/enrolment-tokens/${id}`)).body.usesLeft, 1);
});

test('E-6: a refusal that ends an enrolment is signed over its request', async () => {
  const { token, id } = await makeToken();
  await http.call('DELETE', `/v1/enrolment-tokens/${id}`);
  const request = await enrolRequest(token, makeDeviceKeys());
  const { status, body } = await post(request.json);
  assert.is(status, 410);
  const { signing } = decodeServerKeys(bytes(body.keys[0].body));
  const signed = (hash: Uint8Array, code: string, detail: string) =>
    holdsKey(signing[0] as Uint8Array, refusedBytes(hash, code, detail), bytes(body.sig));
  assert.ok(signed(request.hash, 'gone', body.detail));
  assert.not(signed(request.hash, 'unauthorized', body.detail));
  assert.not(signed(createHash('sha256').digest(), 'gone', body.detail));
});

test('E-2: the id of a token enrols nobody, not even with a known key', async () => {
  const { token } = await makeToken();
  const keys = makeDeviceKeys();
  await enroll(token, keys);
  for (const device of [keys, makeDeviceKeys()]) {
    for (const change of [{ seed: randomBytes(32) }, { id: 'enobody' }]) {
      assert.is((await enroll(otherToken(token, change), device)).status, 401);
    }
  }
});

test('the key of a blocked device does not enrol again', async () => {
  const { token } = await makeToken({ uses: 5 });
  const keys = makeDeviceKeys();
  const { deviceId } = (await enroll(token, keys)).body;
  await http.call('PATCH', `/v1/devices/${deviceId}`, { body: { blocked: true } });
  assert.is((await enroll(token, keys)).status, 409);
});

test('V-2: what a later device says besides is ignored', async () => {
  const { token } = await makeToken();
  assert.is((await enroll(token, makeDeviceKeys(), { model: 'X1' })).status, 201);
});

test('what a device calls itself is made fit to be shown', async () => {
  const { token } = await makeToken({ uses: 2 });
  const name = `  evil\u001b[31m\u202e\n${'x'.repeat(500)}`;
  const { deviceId } = (await enroll(token, makeDeviceKeys(), { name, software: 's'.repeat(900) })).body;
  const device = (await http.call('GET', `/v1/devices/${deviceId}`)).body;
  assert.ok(device.name.startsWith('evil [31m'));
  assert.is(device.name.length, 128);
  assert.is(device.software.length, 64);
  const nameless = (await enroll(token, makeDeviceKeys(), { name: '\u0000' })).body.deviceId;
  assert.is((await http.call('GET', `/v1/devices/${nameless}`)).body.name, nameless);
});

test('an address that fails too often waits, and learns how long', async () => {
  const limited = await startHttp({ failedEnrolmentsPerMinute: 3 });
  try {
    const noToken = tokenText('pp1', { id: 'e1', seed: randomBytes(32), fingerprint: randomBytes(32) });
    const bad = await enrolBody(noToken, makeDeviceKeys());
    const call = () => limited.call('POST', '/v1/enroll', { as: null, body: bad });
    for (let i = 0; i < 3; i++) assert.is((await call()).status, 401);
    const refused = await call();
    assert.is(refused.status, 429);
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
    limited.clock.offsetMs = 61_000;
    assert.is((await call()).status, 401);
  } finally {
    await limited.stop();
  }
});

test('pages of allowed origins may call only the routes for devices; other pages may call none', async () => {
  const origin = 'https://kiosk.example.net';
  const deployment = await startHttp({ allowedOrigins: [origin] });
  const preflight = async (to: Http, path: string, from: string) => {
    const { status, headers } = await fetch(`${to.url}${path}`, {
      method: 'OPTIONS',
      headers: { origin: from, 'access-control-request-method': 'POST' },
    });
    const given = ['origin', 'methods', 'headers'].map((what) => headers.get(`access-control-allow-${what}`));
    return [status, ...given];
  };
  const none = [null, null, null];
  for (const path of ['/v1/enroll', '/v1/locate']) {
    assert.equal(await preflight(deployment, path, origin), [204, origin, 'POST', 'Content-Type']);
    assert.equal(await preflight(deployment, path, 'https://other.example.net'), [405, ...none]);
    assert.equal(await preflight(http, path, origin), [405, ...none]);
  }
  for (const path of ['/v1/devices', '/v1/commands', '/v1/enrolment-tokens']) {
    assert.equal(await preflight(deployment, path, origin), [405, ...none]);
  }
  const refused = await deployment.call('POST', '/v1/enroll', { as: null, body: {}, headers: { origin } });
  assert.is(refused.status, 400);
  assert.is(refused.headers.get('access-control-allow-origin'), origin, 'the page can read why');
  assert.is(refused.headers.get('vary'), 'Origin');
  await deployment.stop();
});

test('H-12: the key of a device that was split enrols no more; another key does', async () => {
  const keys = makeDeviceKeys();
  const { token } = (await http.call('POST', '/v1/enrolment-tokens', { body: { uses: 9 } })).body;
  const { deviceId } = (await enroll(token, keys)).body;
  assert.is((await http.call('POST', `/v1/devices/${deviceId}/release`)).body.cloned, null);
  assert.is((await http.call('POST', `/v1/devices/${deviceId}/split`)).status, 204);
  assert.is((await http.bus.directory.devices([deviceId]))[0]?.state, 'deleted');
  const again = await enroll(token, keys);
  assert.equal([again.status, again.body.code], [409, 'conflict']);
  const other = await enroll(token, makeDeviceKeys());
  assert.is(other.status, 201);
  // As another device, it has a secret that no copy can know.
  assert.is.not(other.body.deviceId, deviceId);
});

/** A device's request for another key, as it travels. */
async function rotation(device: string, from: DeviceKeys, to: DeviceKeys, signedBy = [from, to]) {
  const { publicKey: sealTo } = await nodeHpke.generateX25519();
  const body = encodeKeyRotation({
    ...{ device, from: from.publicKey, to: to.publicKey },
    ...{ sealTo, generation: 1 },
  });
  const text = (data: Uint8Array) => Buffer.from(data).toString('base64url');
  const [fromSig, toSig] = signedBy.map(({ privateKey }) =>
    text(sign(null, keyRotationBytes(body), privateKey)),
  );
  return http.call('POST', '/v1/rotate-key', { as: null, body: { body: text(body), fromSig, toSig } });
}

test('K-6, E-6: nobody enrols with a key that a device had before, and no device changes to it', async () => {
  const { token } = await makeToken({ uses: 5 });
  const [first, second, stranger] = [makeDeviceKeys(), makeDeviceKeys(), makeDeviceKeys()];
  const { deviceId } = (await enroll(token, first)).body;
  assert.is((await rotation(deviceId, first, second)).status, 200);
  const request = await enrolRequest(token, first);
  const { status, body } = await post(request.json);
  assert.equal([status, body.code], [409, 'key-replaced']);
  const { signing } = decodeServerKeys(bytes(body.keys[0].body));
  const signed = refusedBytes(request.hash, 'key-replaced', body.detail);
  assert.ok(holdsKey(signing[0] as Uint8Array, signed, bytes(body.sig)));
  assert.is((await enroll(token, second)).body.deviceId, deviceId);
  assert.is((await rotation(deviceId, second, first)).status, 409);
  const { deviceId: other } = (await enroll(token, stranger)).body;
  assert.is((await rotation(other, stranger, first)).status, 409);
  // Of a device that is none any more, keys are free.
  await http.call('DELETE', `/v1/devices/${deviceId}`);
  assert.is((await enroll(token, first)).status, 201);
});

test('K-6: a device gets four keys in an hour and eight answers in a minute', async () => {
  const { token } = await makeToken();
  const keys = Array.from({ length: 6 }, makeDeviceKeys) as [DeviceKeys, ...DeviceKeys[]];
  const { deviceId } = (await enroll(token, keys[0])).body;
  for (let others = 0; others < 10; others++) {
    const [from, to] = [makeDeviceKeys(), makeDeviceKeys()];
    assert.is((await rotation(deviceId, from, to)).status, 401);
  }
  const next = (n: number) => rotation(deviceId, keys[n - 1] as DeviceKeys, keys[n] as DeviceKeys);
  for (let n = 1; n <= 4; n++) assert.is((await next(n)).status, 200);
  const fifth = await next(5);
  assert.is(fifth.status, 429);
  assert.ok(Number(fifth.headers.get('retry-after')) > 3_500);
  assert.is((await next(4)).status, 200, 'the same again');
  http.clock.offsetMs += 3_600_000;
  assert.is((await next(5)).status, 200);
  assert.is((await next(5)).status, 200);
  assert.is((await next(5)).status, 429, 'the ninth answer');
});

test('K-6: a repeated request repairs the directory after a server that stopped too early', async () => {
  const { token } = await makeToken();
  const [from, to] = [makeDeviceKeys(), makeDeviceKeys()];
  const { deviceId } = (await enroll(token, from)).body;
  // The other server wrote its database, and nothing else.
  await http.store.devices.setPublicKey(deviceId, to.publicKey);
  assert.is((await rotation(deviceId, from, to)).status, 200);
  const [entry] = await http.bus.directory.devices([deviceId]);
  assert.is(Buffer.from(entry?.publicKey ?? []).toString('hex'), to.publicKey.toString('hex'));
});

test.run();
