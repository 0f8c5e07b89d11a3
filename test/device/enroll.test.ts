import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DeviceKeys } from '../../device/executions/device-keys.ts';
import { type DeviceState, EnrollError, enroll, MemoryStore, nodeCrypto } from '../../device/index.ts';
import { fromBase64url, toBase64url } from '../../device/platform/base64url.ts';
import {
  decodeEnrolRequest,
  decodeOrderBody,
  decodeServerKeys,
  type Encrypted,
  enrolBytes,
  parseToken,
  sealedResultBytes,
  type TokenParts,
  tokenText,
} from '../../protocol/index.ts';
import {
  type Asked,
  enrolment,
  type KeysSaid,
  type Reply,
  ROOT,
  refusal,
  type Said,
  SECRET,
  scriptAdmin,
  signedKeys,
  TOKEN,
  textOf,
} from './script-admin.ts';

function revisionOf({ membership }: DeviceState): number {
  const order = decodeOrderBody(membership?.body ?? new Uint8Array());
  return order?.kind === 'membership' ? order.revision : 0;
}

const about = { token: TOKEN, name: 'till-7' };

const said = ({ body }: Asked) => decodeEnrolRequest(fromBase64url(body));

test('E-1, E-2, E-4: a device signs with its key and the token’s, and keeps the answer', async () => {
  const s = await scriptAdmin();
  const store = new MemoryStore();
  const identity = await enroll({ ...about, server: s.url, store });
  assert.is(identity.deviceId, 'dev-1');
  const asked = s.asked[0] as Asked;
  assert.is(asked.url, '/v1/enroll');
  const { publicKey, token, name } = said(asked);
  assert.equal([token, name], ['e-test', 'till-7']);
  const bytes = enrolBytes(fromBase64url(asked.body));
  assert.ok(await nodeCrypto.verify(publicKey, bytes, fromBase64url(asked.deviceSig, 64)));
  const { seed } = parseToken('pp1', TOKEN) as TokenParts;
  assert.equal(await nodeCrypto.sign(seed, bytes), fromBase64url(asked.tokenSig, 64));
  const { state } = await store.load();
  assert.equal(state.key?.publicKey, publicKey);
  for (const secret of [state.key?.privateKey, seed, SECRET]) {
    for (const encoding of ['base64url', 'base64', 'hex', 'latin1'] as const) {
      const hidden = Buffer.from(secret as Uint8Array).toString(encoding);
      assert.not(JSON.stringify(asked).includes(hidden));
      assert.not(
        Buffer.from(asked.body as string, 'base64url')
          .toString(encoding)
          .includes(hidden),
      );
    }
  }
  assert.is(state.gateways.length, 1);
  assert.equal([state.identity?.installation, state.identity?.generation], ['i-test', 1]);
  assert.equal(state.identity?.secret, SECRET);
  assert.equal(decodeServerKeys(state.keys?.body ?? new Uint8Array()).root, ROOT.publicKey);
  await enroll({ ...about, server: s.url, store });
  assert.is(s.asked.length, 1, 'an enrolled device does not ask again');
  await s.stop();
});

test('E-1: a token that comes with the end of its line is the token; anything else is none', async () => {
  const s = await scriptAdmin();
  await enroll({ ...about, token: ` ${TOKEN}\r\n`, server: s.url, store: new MemoryStore() });
  assert.is(said(s.asked[0] as Asked).token, 'e-test');
  const [head, id, seed, fingerprint] = TOKEN.split('.') as [string, string, string, string];
  for (const parts of [
    ['ppe_0123456789'],
    ['pp2', id, seed, fingerprint],
    [head, id, seed],
    [head, id, seed, fingerprint, ''],
    [head, '!', seed, fingerprint],
    [head, id, seed.slice(1), fingerprint],
    [head, id, seed, `${fingerprint.slice(1)}*`],
  ]) {
    const token = parts.join('.');
    const error = await enroll({ ...about, token, server: s.url, store: new MemoryStore() }).catch((e) => e);
    assert.instance(error, EnrollError);
    assert.is(error.temporary, false, token);
  }
  assert.is(s.asked.length, 1);
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
  assert.equal(said(s.asked[0] as Asked).publicKey, said(flaky.asked[0] as Asked).publicKey);
  assert.not.equal(
    said(s.asked[0] as Asked).sealTo,
    said(flaky.asked[0] as Asked).sealTo,
    'E-2: a new key for each request',
  );
  await s.stop();
  await flaky.stop();
});

test('E-5: as another device it takes any membership, and keeps ids and the floor', async () => {
  let now = { deviceId: 'dev-1', membership: { revision: 7, issuedAt: 5_000 } };
  const s = await scriptAdmin(async (asked) => ({ status: 201, body: await enrolment(asked, now) }));
  const store = new MemoryStore();
  await enroll({ ...about, server: s.url, store });
  const outcome = { state: 'succeeded' as const };
  await store.append([{ put: { id: 'c1', issuedAt: 1, expiresAt: 9_000, state: 'finished', outcome } }]);
  now = { deviceId: 'dev-1', membership: { revision: 6, issuedAt: 4_000 } };
  const same = await store.load();
  assert.is(same.executions[0]?.state, 'finished');
  assert.is(revisionOf(same.state), 7, 'S-7: an older membership is not taken');
  now = { deviceId: 'dev-2', membership: { revision: 1, issuedAt: 4_000 } };
  assert.is((await enroll({ ...about, server: s.url, store, again: true })).deviceId, 'dev-2');
  const other = await store.load();
  assert.equal(other.executions, [{ id: 'c1', issuedAt: 1, expiresAt: 9_000, state: 'settled' }]);
  assert.is(revisionOf(other.state), 1);
  assert.equal(other.marks, { issuedAt: 5_000 });
  assert.equal(other.state.key, same.state.key);
  await s.stop();
});

const outcomeOf = async (server: string, store = new MemoryStore()): Promise<string> => {
  const error = await enroll({ ...about, server, store }).catch((e) => e);
  assert.instance(error, EnrollError);
  assert.is((await store.load()).state.identity, undefined);
  return error.temporary ? 'again' : `final: ${error.message}`;
};

test('E-6: a refusal that the server signed is final, with its detail; no answer is not', async () => {
  let change = {};
  const s = await scriptAdmin(async (asked) => {
    const { status, body } = await refusal(asked, 410, 'gone', 'the token has expired');
    return { status, body: { ...(body as object), ...change } };
  });
  assert.is(await outcomeOf(s.url), 'final: the token has expired');
  const other = await nodeCrypto.generate();
  for (change of [
    { code: 'conflict' },
    { detail: 'come back never' },
    { sig: toBase64url(new Uint8Array(64)) },
    { sig: undefined },
    { keys: undefined },
    { keys: [textOf(await signedKeys(other))] },
    { keys: [textOf(await signedKeys(other, { root: other, signing: [ROOT.publicKey] }))] },
  ]) {
    assert.is(await outcomeOf(s.url), 'again', JSON.stringify(change));
  }
  await s.stop();
  assert.is(await outcomeOf(s.url), 'again');
});

test('E-6: a refusal of an earlier request is not one of the next', async () => {
  let first: Reply | undefined;
  const s = await scriptAdmin(async (asked) => {
    first ??= await refusal(asked, 401, 'unauthorized', 'no such token');
    return first;
  });
  assert.is(await outcomeOf(s.url), 'final: no such token');
  assert.is(await outcomeOf(s.url), 'again');
  await s.stop();
});

test('E-6: whatever a host on the way answers, the device asks again', async () => {
  let answer: Reply = { status: 0, body: '' };
  const s = await scriptAdmin(() => answer);
  const outcome = async (status: number, body: unknown, headers = {}) => {
    answer = { status, body, headers };
    return outcomeOf(s.url);
  };
  const html = { 'content-type': 'text/html' };
  for (const status of [200, 201, 400, 401, 403, 404, 409, 410, 451, 500, 511]) {
    assert.is(await outcome(status, '<html>Log in</html>', html), 'again', `${status} and a page`);
    for (const body of ['null', '[]', '7', {}, { code: 'blocked' }]) {
      assert.is(await outcome(status, body), 'again', `${status} ${JSON.stringify(body)}`);
    }
  }
  assert.is(await outcome(302, '', { location: 'http://127.0.0.1:1/login' }), 'again');
  for (const [status, code] of [
    [400, 'bad-request'],
    [401, 'unauthorized'],
    [409, 'conflict'],
    [410, 'gone'],
  ] as const) {
    assert.is(await outcome(status, { code, detail: 'no' }), 'again', 'nobody signed it');
  }
  await s.stop();
});

test('E-3, G-1: a list is kept in the order of the names; who gets none asks where to go', async () => {
  const [one, two] = ['gw-1', 'gw-2'].map((name) => ({ name, url: `wss://${name}.example.net` }));
  assert.ok(one && two);
  let said: Said = { gateways: [two, one] };
  const s = await scriptAdmin(async (asked) => ({ status: 201, body: await enrolment(asked, said) }));
  const store = new MemoryStore();
  await enroll({ ...about, server: s.url, store });
  const { state } = await store.load();
  assert.equal(state.gateways, [two, one]);
  const order = decodeOrderBody(state.list?.body ?? new Uint8Array());
  assert.is(order?.kind, 'gateways');
  said = { gateways: [] };
  await enroll({ ...about, server: s.url, store, again: true });
  assert.equal((await store.load()).state.gateways, [two, one], 'no list changes nothing');
  const empty = new MemoryStore();
  await enroll({ ...about, server: s.url, store: empty });
  assert.equal((await empty.load()).state.gateways, []);
  await s.stop();
});

test('E-4, G-18: a list by another key, or of another group, is not believed', async () => {
  const listKey = await nodeCrypto.generate();
  const wrong: Said[] = [
    { list: { target: { group: 'other' } } },
    { membership: { groups: ['root', 'berlin'] } },
    { listKey },
  ];
  for (const said of wrong) {
    const s = await scriptAdmin(async (asked) => ({ status: 201, body: await enrolment(asked, said) }));
    const store = new MemoryStore();
    const error = await enroll({ ...about, server: s.url, store }).catch((e) => e);
    assert.match(error.message, /list, or its signature/);
    assert.is(error.temporary, true);
    assert.equal((await store.load()).state.gateways, []);
    await s.stop();
  }
});

test('E-4: a device that enrols again keeps its root, unless that root signed for the next', async () => {
  const next = await nodeCrypto.generate();
  const fingerprint = await nodeCrypto.sha256(next.publicKey);
  const token = tokenText('pp1', { ...(parseToken('pp1', TOKEN) as TokenParts), fingerprint });
  let keys: KeysSaid = {};
  const s = await scriptAdmin(async (asked) => ({ status: 201, body: await enrolment(asked, { keys }) }));
  const store = new MemoryStore();
  await enroll({ ...about, server: s.url, store });
  const again = (as: string) => enroll({ ...about, token: as, server: s.url, store, again: true });
  const rootNow = async () =>
    toBase64url(decodeServerKeys((await store.load()).state.keys?.body ?? new Uint8Array()).root);
  for (keys of [
    { root: next, revision: 2 },
    { root: next, revision: 2, previous: next },
    { root: next, revision: 1, previous: ROOT },
  ]) {
    assert.match((await again(token).catch((e) => e)).message, /E-4/);
    assert.is(await rootNow(), toBase64url(ROOT.publicKey));
  }
  keys = { root: next, revision: 2, previous: ROOT };
  assert.match((await again(TOKEN).catch((e) => e)).message, /E-4/, 'the token names the other root');
  await again(token);
  assert.is(await rootNow(), toBase64url(next.publicKey));
  await s.stop();
});

test('K-6, E-7: a device that lost the answer to K-6 enrols again with its next key', async () => {
  const nextKey = await nodeCrypto.generate();
  let code = 'conflict';
  const s = await scriptAdmin(async (asked) => {
    const { publicKey } = decodeEnrolRequest(fromBase64url(asked.body));
    const isNext = toBase64url(publicKey) === toBase64url(nextKey.publicKey);
    if (s.asked.length === 1 || isNext) return { status: 201, body: await enrolment(asked) };
    return refusal(asked, 409, code, 'no');
  });
  const store = new MemoryStore();
  await enroll({ ...about, server: s.url, store });
  const { state } = await store.load();
  await store.saveState({ ...state, nextKey });
  const again = () => enroll({ ...about, server: s.url, store, again: true });
  const blocked = await again().catch((e) => e);
  assert.equal([blocked.code, blocked.temporary, s.asked.length], ['conflict', false, 2]);
  code = 'key-replaced';
  await again();
  assert.is(s.asked.length, 4);
  const after = (await store.load()).state;
  assert.equal([after.key, after.nextKey], [nextKey, undefined]);
  await s.stop();
});

test('K-6, X-8: an unreported outcome stays sealed as it was, and opens with a later secret', async () => {
  let said: { deviceSecret?: Uint8Array; generation?: number } = {};
  const s = await scriptAdmin(async (asked) => ({
    ...{ status: 201, body: await enrolment(asked, said) },
  }));
  const store = new MemoryStore();
  const before = await enroll({ ...about, server: s.url, store });
  const purpose = sealedResultBytes(before.deviceId, 'c1');
  const sealed = await new DeviceKeys(before, nodeCrypto).seal(Uint8Array.of(7), purpose);
  const times = { issuedAt: 1, expiresAt: 2 };
  await store.append([
    { put: { id: 'c1', ...times, state: 'finished', outcome: { state: 'succeeded' }, sealed } },
  ]);
  const record = async () => (await store.load()).executions[0] as { sealed: Encrypted };
  await enroll({ ...about, server: s.url, store, again: true });
  const same = await enroll({ ...about, server: s.url, store, again: true });
  assert.is(same.formerSecret, undefined);
  said = { deviceSecret: new Uint8Array(32).fill(77), generation: 2 };
  const after = await enroll({ ...about, server: s.url, store, again: true });
  assert.equal([after.generation, after.formerSecret], [2, before.secret]);
  assert.equal((await record()).sealed, sealed);
  const keys = new DeviceKeys(after, nodeCrypto);
  assert.equal(await keys.open('secret', (await record()).sealed, purpose), Uint8Array.of(7));
  await s.stop();
});

test('K-7, E-4: a device follows documents that it missed, also from the root of an old token', async () => {
  const [next, signing] = [await nodeCrypto.generate(), await nodeCrypto.generate()];
  const before = { signing: [(await nodeCrypto.generate()).publicKey] };
  const chain: KeysSaid[] = [
    before,
    { ...before, root: next, revision: 2, previous: ROOT },
    { root: next, revision: 3, signing: [signing.publicKey] },
  ];
  let said: Said = {};
  const s = await scriptAdmin(async (asked) => ({ status: 201, body: await enrolment(asked, said) }));
  const held = new MemoryStore();
  await enroll({ ...about, server: s.url, store: held });
  const [first, second, third] = chain as [KeysSaid, KeysSaid, KeysSaid];
  const fresh = () => enroll({ ...about, server: s.url, store: new MemoryStore() });
  const again = () => enroll({ ...about, server: s.url, store: held, again: true });
  for (const keys of [[third], [first, third], [third, second, first]]) {
    said = { serverKey: signing, keys };
    for (const enrolling of [fresh, again]) assert.match((await enrolling().catch((e) => e)).message, /E-3/);
  }
  said = { serverKey: signing, keys: chain };
  await fresh();
  await again();
  const { keys } = (await held.load()).state;
  const { root, revision } = decodeServerKeys(keys?.body ?? new Uint8Array());
  assert.equal([toBase64url(root), revision], [toBase64url(next.publicKey), 3]);
  await s.stop();
});

test('E-4: an older document of the keys brings no retired key back', async () => {
  const retired = await nodeCrypto.generate();
  let now: Said = { keys: { revision: 2 } };
  const s = await scriptAdmin(async (asked) => ({ status: 201, body: await enrolment(asked, now) }));
  const store = new MemoryStore();
  await enroll({ ...about, server: s.url, store });
  now = { serverKey: retired, keys: { revision: 1 } };
  const error = await enroll({ ...about, server: s.url, store, again: true }).catch((e) => e);
  assert.match(error.message, /signature/);
  await s.stop();
});

test.run();
