import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeValue, type GatewayAddress } from '../../protocol/index.ts';
import { fixture } from './fixture.ts';
import { ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

test('H-3: a device proves its key, and names its software, types and membership', async () => {
  const f = await fixture({ options: { software: 'till/2.1' } });
  const prove = await f.gateway.last.first('prove');
  assert.is(prove.device, 'dev-1');
  assert.is(prove.software, 'till/2.1');
  assert.equal(prove.caps, ['identify', 'sync']);
  assert.is(f.gateway.badProofs, 0);
  await until(() => f.device.session?.gateway.name === 'gw-1', 'the session');
  await f.end();
});

test('H-5: a device does not sign for a gateway that says another name than its address has', async () => {
  const gateway = await ScriptGateway.start();
  gateway.claimedName = 'gw-2';
  const f = await fixture({ gateway, connect: false });
  await until(() => f.disconnected.length > 0, 'the end');
  assert.match(f.disconnected[0]?.reason ?? '', /H-5/);
  assert.is(f.disconnected[0]?.advice, 'back-off');
  assert.is(gateway.peers[0]?.received.length, 0);
  await f.end();
});

test('E-4, H-5: a device does not sign for a gateway of another installation, and tries again', async () => {
  const gateway = await ScriptGateway.start();
  const { identity } = gateway.state();
  if (!identity) throw new Error('no identity');
  const store = gateway.store({ identity: { ...identity, installation: 'i-own' } });
  gateway.installation = 'i-other';
  const f = await fixture({ gateway, store, connect: false });
  await until(() => f.disconnected.length > 1, 'two attempts');
  assert.match(f.disconnected[0]?.reason ?? '', /H-5: .* of installation i-other, not of i-own/);
  assert.is(f.disconnected[0]?.advice, 'back-off');
  assert.is(gateway.peers[0]?.received.length, 0);
  gateway.installation = 'i-own';
  await gateway.session();
  await f.end();
});

test('H-8: a connection that brings no welcome is given up', async () => {
  const gateway = await ScriptGateway.start();
  gateway.onProve = () => {};
  const f = await fixture({ gateway, connect: false, options: { handshakeTimeoutMs: 50 } });
  await until(() => gateway.peers.length > 1, 'another try');
  assert.is(f.disconnected[0]?.code, 1006);
  await f.end();
});

test('F-5, F-6, H-11: a device closes with 1002 if a gateway breaks a rule, and retries', async () => {
  const f = await fixture();
  const wrong = [
    encodeValue({ t: 'beat', time: -1 }),
    new Uint8Array([0xc1]),
    encodeValue({
      t: 'challenge',
      nonce: new Uint8Array(32),
      gateway: 'gw-1',
      installation: 'i-test',
      time: 1,
    }),
    encodeValue({ t: 'order', body: 'text', sig: new Uint8Array(64) }),
  ];
  for (const [index, bytes] of wrong.entries()) {
    const peer = await f.gateway.session(index + 1);
    peer.socket.send(bytes);
    await until(() => peer.closed, 'the close');
    assert.is(peer.closed?.code, 1002);
  }
  const peer = await f.gateway.session(wrong.length + 1);
  peer.socket.send('text');
  await until(() => peer.closed, 'the close');
  assert.is(peer.closed?.code, 1002);
  await f.end();
});

test('H-11: before welcome only a challenge and a redirect are in turn', async () => {
  const gateway = await ScriptGateway.start();
  gateway.onProve = (peer) => peer.send({ t: 'settled', id: 'c1', state: 'unknown' });
  const f = await fixture({ gateway, connect: false });
  await until(() => gateway.peers[0]?.closed, 'the close');
  assert.equal(gateway.peers[0]?.closed, { code: 1002, reason: 'H-11' });
  await until(() => gateway.peers.length > 1, 'another try');
  await f.end();
});

test('V-2: unknown messages and fields are skipped', async () => {
  const f = await fixture();
  f.gateway.last.socket.send(encodeValue({ t: 'later', x: 1 }));
  f.gateway.last.socket.send(encodeValue({ t: 'beat', time: 1, more: [1] }));
  await f.gateway.sendCommand('c1');
  await f.gateway.last.first('result', 'c1');
  assert.is(f.gateway.peers.length, 1);
  await f.end();
});

test('B-1, B-5: beats come at the interval; a status is told early, once in each session', async () => {
  const gateway = await ScriptGateway.start();
  gateway.heartbeatMs = 1_000;
  const f = await fixture({ gateway, options: { random: () => 0.1 } });
  f.device.setStatus({ policy: 'r7' });
  f.device.setStatus({ compliance: 'warn' });
  f.device.setStatus({ policy: 'r7', compliance: 'warn' });
  const said = () => gateway.last.of('beat').flatMap(({ status }) => (status ? [status] : []));
  await until(() => said().some(({ compliance }) => compliance === 'warn'), 'the status');
  await until(() => gateway.last.of('beat').length >= 3, 'more beats');
  const [first] = said();
  assert.equal(said(), [{ number: first?.number, policy: 'r7', compliance: 'warn' }]);
  gateway.last.socket.terminate();
  const peer = await gateway.session(2);
  const again = await peer.first('beat');
  assert.equal(again, { t: 'beat', status: first });
  await f.end();
});

test('B-5: the number of a status grows over restarts, and with the floor', async () => {
  const gateway = await ScriptGateway.start();
  const f = await fixture({ gateway });
  f.device.setStatus({ policy: 'r1' });
  const { status: before } = await gateway.last.first('beat');
  assert.ok(before);
  await f.device.stop();
  assert.equal((await f.store.load()).state.status, before);
  const told = async (change: { policy: string } | null) => {
    const sessions = gateway.peers.length;
    const g = await fixture({ gateway, store: f.store, connect: false });
    if (change) g.device.setStatus(change);
    const peer = await gateway.session(sessions + 1);
    const { status } = await peer.first('beat');
    await g.device.stop();
    return status;
  };
  assert.equal(await told(null), before);
  assert.equal(await told({ policy: 'r1' }), before);
  assert.equal(await told({ policy: 'r2' }), { number: before.number + 1, policy: 'r2' });
  // An earlier copy of the files came back, and the signed time is later.
  await f.store.append([{ marks: { issuedAt: before.number + 1_000 } }]);
  assert.equal(await told({ policy: 'r3' }), { number: before.number + 1_000, policy: 'r3' });
  await f.end();
});

test('B-3: after two beats without answer the device goes to another gateway', async () => {
  const gateway = await ScriptGateway.start();
  const other = await ScriptGateway.start('gw-2', gateway);
  gateway.heartbeatMs = 1_000;
  gateway.answerBeats = false;
  const store = gateway.store({ gateways: [gateway.address, other.address] });
  const f = await fixture({ gateway, store, options: { random: () => 0.01, probing: false } });
  await other.session();
  assert.is(gateway.peers[0]?.of('beat').length, 2);
  assert.match(f.disconnected[0]?.reason ?? '', /B-3/);
  await f.end();
  await other.stop();
});

test('G-2, C-3: a gateway that is not there is passed over', async () => {
  const gateway = await ScriptGateway.start();
  const gone = { name: 'gw-0', url: 'ws://127.0.0.1:1' };
  const store = gateway.store({ gateways: [gone, gateway.address] });
  const f = await fixture({ gateway, store, options: { probing: false } });
  assert.is(f.disconnected[0]?.gateway.name, 'gw-0');
  await f.end();
});

test('G-1, G-18: a newer list replaces the stored one, in the order of welcome and update', async () => {
  const gateway = await ScriptGateway.start();
  const [eight, nine] = ['gw-8', 'gw-9'].map((name) => ({ name, url: `wss://${name}.example.net` })) as [
    GatewayAddress,
    GatewayAddress,
  ];
  gateway.gateways = [gateway.address, nine, eight];
  const f = await fixture({ gateway });
  const kept = async () => (await f.store.load()).state.gateways.map(({ name }) => name).join();
  await until(async () => (await kept()) === 'gw-1,gw-9,gw-8', 'the list, in the order of welcome');
  gateway.last.send({ t: 'update', gateways: ['gw-8', 'gw-7', 'gw-1'] });
  await until(async () => (await kept()) === 'gw-8,gw-1,gw-9', 'the order of update');
  gateway.last.send({ t: 'update', gateways: [] });
  await gateway.sendList([gateway.address]);
  await until(async () => (await kept()) === 'gw-1', 'the newer list');
  const { state } = await f.store.load();
  assert.equal(
    state.older?.map(({ name }) => name),
    ['gw-8', 'gw-9'],
  );
  await f.restart();
  assert.is((await gateway.last.first('prove')).gateways[0], 1);
  await f.end();
});

test('G-3: a redirected device closes with 1000 and goes to the first that admits it', async () => {
  const gateway = await ScriptGateway.start();
  const other = await ScriptGateway.start('gw-2', gateway);
  const gone = { name: 'gw-0', url: 'ws://127.0.0.1:1' };
  const gateways = [gateway.address, gone, other.address];
  const f = await fixture({ gateway, store: gateway.store({ gateways, home: gateway.address.url }) });
  gateway.last.send({ t: 'redirect', to: ['gw-0', 'gw-2'], reason: 'drain', withinMs: 20 });
  await other.session();
  await until(() => gateway.last.closed, 'the close');
  assert.is(gateway.last.closed?.code, 1000);
  await until(() => f.device.session?.gateway.name === 'gw-2', 'the session there');
  assert.is(gateway.peers.length, 1);
  await f.end();
  await other.stop();
});

test('G-3: a device that is asked to leave and not told where to dials its list again now', async () => {
  const f = await fixture();
  f.gateway.last.send({ t: 'redirect', to: [], reason: 'of a later version', withinMs: 1 });
  await f.gateway.session(2);
  assert.is(f.disconnected[0]?.code, 1000);
  assert.is(f.disconnected[0]?.advice, 'now');
  await f.end();
});

test('H-10, H-11: a redirect instead of welcome leads where the list before it says', async () => {
  const gateway = await ScriptGateway.start();
  const other = await ScriptGateway.start('gw-2', gateway);
  const three = await ScriptGateway.start('gw-3', gateway);
  const store = gateway.store(await gateway.member([gateway.address]));
  const list = await gateway.list([gateway.address, three.address, other.address]);
  gateway.onProve = (peer) => {
    peer.send(list);
    peer.send({ t: 'redirect', to: ['gw-2'], reason: 'full', withinMs: 0 });
    peer.socket.close(4001);
  };
  const f = await fixture({ gateway, store, connect: false });
  await other.session();
  assert.is(f.disconnected[0]?.advice, 'now');
  assert.is(three.peers.length, 0);
  await f.end();
  for (const each of [other, three]) await each.stop();
});

test('H-10: a device that comes by a former port goes on to the same gateway at the new one', async () => {
  const old = await ScriptGateway.start();
  const moved = await ScriptGateway.start('gw-1', old);
  const two = await ScriptGateway.start('gw-2', old);
  const store = old.store(await old.member([old.address]));
  const list = await old.list([two.address, moved.address]);
  old.onProve = (peer) => {
    peer.send(list);
    peer.send({ t: 'redirect', to: ['gw-1'], reason: 'drain', withinMs: 0 });
    peer.socket.close(4001);
  };
  const f = await fixture({ gateway: old, store, connect: false, options: { probing: false } });
  await moved.session();
  assert.is(f.disconnected.length, 1);
  assert.is(two.peers.length, 0);
  await f.end();
  for (const each of [moved, two]) await each.stop();
});

test('C-2: a code that refuses slows the device down, until the program asks for a connection', async () => {
  const f = await fixture();
  f.gateway.last.socket.close(4404, 'blocked');
  await until(() => f.disconnected.length === 1, 'the end');
  assert.is(f.disconnected[0]?.advice, 'slow');
  assert.type(f.disconnected[0]?.retryInMs, 'number');
  f.device.connectNow();
  await f.gateway.session(2);
  assert.is(f.gateway.peers.length, 2);
  await f.end();
});

test('V-3: a gateway that speaks no common version is tried again at long intervals', async () => {
  const f = await fixture({ options: { random: () => 0.5 } });
  f.gateway.last.socket.close(4401);
  await until(() => f.disconnected.length === 1, 'the end');
  assert.equal([f.disconnected[0]?.advice, f.disconnected[0]?.retryInMs], ['slow', 1_800_000]);
  assert.is(f.device.session, null);
  await f.end();
});

test('C-5: an HTTP refusal counts as 1006, and its Retry-After is obeyed', async () => {
  const gateway = await ScriptGateway.start();
  gateway.refuse = 7;
  const f = await fixture({ gateway, connect: false });
  await until(() => f.disconnected.length === 1, 'the refusal');
  const { code, reason, retryInMs } = f.disconnected[0] as (typeof f.disconnected)[0];
  assert.is(code, 1006);
  assert.is(reason, 'HTTP 503');
  assert.ok((retryInMs as number) >= 7_000);
  await f.end();
});

test('start and stop may be called twice, and a stopped device comes back', async () => {
  const f = await fixture();
  await Promise.all([f.device.start(), f.device.start()]);
  assert.is(f.gateway.peers.length, 1);
  await Promise.all([f.device.stop(), f.device.stop()]);
  await until(() => f.gateway.last.closed, 'the close');
  assert.is(f.gateway.last.closed?.code, 1000);
  await f.device.start();
  await f.gateway.session(2);
  await f.end();
});

test('H-12: a device says which run of its program it is, and at which gateway', async () => {
  const f = await fixture();
  const identify = async (id: string) => {
    await f.gateway.sendCommand(id, { type: 'identify', args: null });
    const { data } = await f.gateway.last.first('result', id);
    return data as { run: string; upMs: number; gateway: string };
  };
  const first = await identify('c1');
  const second = await identify('c2');
  assert.is(second.run, first.run);
  assert.ok(second.upMs >= first.upMs);
  assert.is(first.gateway, 'gw-1');
  await f.restart();
  const third = await identify('c3');
  assert.is.not(third.run, first.run);
  await f.end();
});

test.run();
