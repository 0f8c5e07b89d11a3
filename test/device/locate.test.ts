import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DeviceState, nodeCrypto } from '../../device/index.ts';
import type { GatewayAddress } from '../../protocol/index.ts';
import { newKeyPair, signedKeys } from '../server-keys.ts';
import { fixture } from './fixture.ts';
import { located, scriptAdmin } from './script-admin.ts';
import { FIRST_ROOT, firstKeys, ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

const NOWHERE = { name: 'gw-0', url: 'ws://127.0.0.1:1' };

/** A device whose list is `list`, and a server that knows `gw-1`. */
async function lost(
  list: GatewayAddress[],
  answer: (asked: Record<string, string>, gw: ScriptGateway) => ReturnType<typeof located>,
  more: (gw: ScriptGateway) => Partial<DeviceState> = () => ({}),
) {
  const gw = await ScriptGateway.start();
  const admin = await scriptAdmin((asked) => answer(asked, gw));
  const { identity } = gw.state();
  if (!identity) throw new Error('no identity');
  const store = gw.store({ gateways: list, identity: { ...identity, server: admin.url }, ...more(gw) });
  const f = await fixture({ gateway: gw, store, connect: false });
  const end = async () => {
    await f.end();
    await admin.stop();
  };
  return { gw, admin, f, end };
}

test('G-16: after ten attempts that lead nowhere a device asks where to go, and goes there', async () => {
  const l = await lost([NOWHERE], (asked, gw) => located(gw.serverKey, gw.deviceKey, asked, [gw.address]));
  await l.gw.session();
  assert.ok(l.f.disconnected.length >= 10, String(l.f.disconnected.length));
  assert.equal(
    l.admin.asked.map(({ url }) => url),
    ['/v1/locate', '/v1/locate'],
  );
  await until(() => l.f.device.session, 'the welcome');
  await l.f.device.stop();
  const { gateways, older } = (await l.f.store.load()).state;
  assert.equal(gateways, [l.gw.address]);
  assert.equal(older, []);
  await l.end();
});

test('G-16: a device without any gateway asks until there is one', async () => {
  let known: GatewayAddress[] = [];
  const l = await lost([], (asked, gw) => located(gw.serverKey, gw.deviceKey, asked, known));
  await until(() => l.admin.asked.length >= 6, 'three questions');
  known = [l.gw.address];
  await l.gw.session();
  assert.is(l.f.faults.length, 0);
  await l.end();
});

test('G-16: of a signed list, what cannot be used is skipped', async () => {
  const bad = { name: 'gw-9', url: 'ws://[nowhere' };
  const l = await lost([NOWHERE], (asked, gw) =>
    located(gw.serverKey, gw.deviceKey, asked, [bad, gw.address]),
  );
  await l.gw.session();
  await until(() => l.f.device.session, 'the welcome');
  await l.f.device.stop();
  assert.equal((await l.f.store.load()).state.gateways, [l.gw.address]);
  await l.end();
});

test('G-16, K-6: a device that lost the answer to a change of its key asks with the next one', async () => {
  const key = await nodeCrypto.generate();
  const l = await lost(
    [NOWHERE],
    (asked, gw) => located(gw.serverKey, gw.deviceKey, asked, [gw.address]),
    (gw) => ({ key, nextKey: gw.deviceKey }),
  );
  await l.gw.session();
  assert.is(l.admin.asked.filter(({ proof }) => proof !== undefined).length, 2);
  await l.f.device.stop();
  assert.is((await l.f.store.load()).state.nextKey, undefined, 'the membership that came names it');
  await l.end();
});

test('G-16, K-7: a device that missed server keys follows them, and believes what they sign', async () => {
  const [signing, root] = [await nodeCrypto.generate(), newKeyPair()];
  const chain = (gw: ScriptGateway) => [
    firstKeys(gw.serverKey),
    signedKeys(root, [1, 2], [gw.serverKey.publicKey], FIRST_ROOT),
    signedKeys(root, [1, 3], [signing.publicKey]),
  ];
  let whole = false;
  const l = await lost([], (asked, gw) =>
    located(signing, gw.deviceKey, asked, [gw.address], {
      documents: whole ? chain(gw) : chain(gw).slice(2),
    }),
  );
  await until(() => l.admin.asked.length >= 4, 'two answers');
  assert.equal((await l.f.store.load()).state.gateways, []);
  whole = true;
  await l.gw.session();
  assert.equal((await l.gw.last.first('prove')).keys, [1, 3]);
  l.gw.last.send(await l.gw.order(l.gw.command('c1'), signing));
  await l.gw.last.first('result', 'c1');
  await l.end();
});

test('G-16: an answer that the pinned key did not sign for this question is not believed', async () => {
  const stranger = await nodeCrypto.generate();
  let old: Awaited<ReturnType<typeof located>> | null = null;
  let good = false;
  const l = await lost([], async (asked, gw) => {
    const answer = await located(gw.serverKey, gw.deviceKey, asked, [gw.address]);
    if (good || asked.proof === undefined) return answer;
    old ??= answer;
    // Signed by another key, then for an earlier question, then with a name changed.
    const tried = l.admin.asked.filter(({ proof }) => proof !== undefined).length % 3;
    if (tried === 0) return located(stranger, gw.deviceKey, asked, [gw.address]);
    if (tried === 1 && answer !== old) return old;
    return { ...answer, body: { ...(answer.body as object), gateways: ['gw-9'] } };
  });
  await until(() => l.admin.asked.length >= 12, 'six answers');
  assert.equal((await l.f.store.load()).state.gateways, []);
  assert.is(l.gw.peers.length, 0);
  good = true;
  await l.gw.session();
  await l.end();
});

test('G-16: a device that was moved gets its membership, and then the list of its group', async () => {
  const l = await lost([NOWHERE], (asked, gw) =>
    located(gw.serverKey, gw.deviceKey, asked, [gw.address], {
      membership: { groups: ['root', 'berlin'], revision: 5 },
      list: { target: { group: 'berlin' } },
    }),
  );
  const peer = await l.gw.session();
  const { membership, gateways } = await peer.first('prove');
  assert.equal(membership, [1, 5]);
  assert.ok(gateways[1] > 0);
  assert.equal(l.f.refused, []);
  await l.end();
});

test('G-16, G-1: a device uses a located list also from TLS to none, and if it has it already', async () => {
  const held = { epoch: 3, revision: 7 };
  const gw = await ScriptGateway.start();
  const member = await gw.member([gw.address], held);
  const admin = await scriptAdmin((asked) =>
    located(gw.serverKey, gw.deviceKey, asked, [gw.address], { list: held }),
  );
  const { identity } = gw.state();
  if (!identity) throw new Error('no identity');
  const gateways = [{ name: 'gw-9', url: 'wss://127.0.0.1:1' }];
  const store = gw.store({ gateways, ...member, identity: { ...identity, server: admin.url } });
  const f = await fixture({ gateway: gw, store });
  assert.equal((await gw.last.first('prove')).gateways, [3, 7]);
  assert.equal(f.refused, []);
  await f.end();
  await admin.stop();
});

test('G-16: Retry-After is kept, and a device that was deleted asks nothing', async () => {
  const l = await lost([NOWHERE], async () => ({
    status: 429,
    headers: { 'retry-after': '3600' },
    body: { detail: 'later' },
  }));
  await until(() => l.f.disconnected.length >= 35, 'attempts');
  assert.is(l.admin.asked.length, 1);
  await l.f.device.stop();
  const { state } = await l.f.store.load();
  await l.f.store.saveState({ ...state, gateways: [l.gw.address] });
  await l.f.device.start();
  await l.gw.session();
  await l.gw.sendMembership(9, [], 1, { state: 'deleted' });
  l.gw.last.socket.close(4402);
  await until(() => l.f.disconnected.some(({ code }) => code === 4402), 'the end');
  await until(() => l.f.left.length === 1, 'it to know');
  assert.is(l.admin.asked.length, 1);
  await l.end();
});

test.run();
