import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nodeCrypto } from '../../device/index.ts';
import { type Fixture, fixture } from './fixture.ts';
import { ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

async function refusal(f: Fixture): Promise<string> {
  return (await until(() => f.refused.shift(), 'a refusal')).reason;
}

test('S-2: an order whose signature does not verify is dropped unanswered', async () => {
  const f = await fixture();
  const stranger = await nodeCrypto.generate();
  f.gateway.last.send(await f.gateway.order(f.gateway.command('c1'), stranger));
  assert.is(await refusal(f), 'bad signature');
  const changed = await f.gateway.order(f.gateway.command('c2'));
  changed.body[changed.body.length - 1] = (changed.body.at(-1) as number) ^ 1;
  f.gateway.last.send(changed);
  assert.is(await refusal(f), 'bad signature');
  await f.gateway.sendCommand('c3');
  await f.gateway.last.first('result', 'c3');
  assert.equal(f.ran, ['c3']);
  assert.is(f.gateway.peers.length, 1, 'the connection stays open');
  await f.end();
});

test("S-4: another device's order is dropped", async () => {
  const f = await fixture();
  await f.gateway.sendCommand('c1', { target: { device: 'dev-2' } });
  assert.is(await refusal(f), 'other target');
  assert.equal(f.ran, []);
  await f.end();
});

test('S-4: a group order is obeyed if the membership names the group, and only then', async () => {
  const f = await fixture();
  await f.gateway.sendCommand('c1', { target: { group: 'shops' } });
  assert.is(await refusal(f), 'other target');
  await f.gateway.sendMembership(1, ['root', 'shops']);
  await f.gateway.sendCommand('c2', { target: { group: 'shops' } });
  await f.gateway.last.first('result', 'c2');
  await f.gateway.sendMembership(2, ['root', 'offices']);
  await f.gateway.sendCommand('c3', { target: { group: 'shops' } });
  assert.is(await refusal(f), 'other target');
  assert.equal(f.ran, ['c2']);
  await f.end();
});

test('S-7: a device drops a membership that is not newer; prove names the newest', async () => {
  const f = await fixture();
  assert.equal((await f.gateway.last.first('prove')).membership, [0, 0]);
  await f.gateway.sendMembership(5, ['root', 'shops']);
  await f.gateway.sendMembership(5, ['root']);
  await f.gateway.sendCommand('c0', { target: { group: 'shops' } });
  assert.is((await f.gateway.last.first('result', 'c0')).state, 'succeeded', 'the same edition is ignored');
  await f.gateway.sendMembership(4, ['root']);
  assert.is(await refusal(f), 'older membership');
  await f.gateway.sendMembership(1, ['root', 'shops'], 2);
  await f.gateway.sendMembership(6, ['root']);
  assert.is(await refusal(f), 'older membership');
  await f.restart();
  assert.equal((await f.gateway.last.first('prove')).membership, [2, 1]);
  await f.gateway.sendCommand('c1', { target: { group: 'shops' } });
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'succeeded');
  await f.end();
});

test('S-5: an expired command is not run and reported expired', async () => {
  const f = await fixture();
  const now = Date.now();
  await f.gateway.sendCommand('c1', { issuedAt: now - 20_000, expiresAt: now - 1_000 });
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'expired');
  assert.equal(f.ran, []);
  await f.end();
});

test("S-5: the device's own clock plays no part", async () => {
  const f = await fixture();
  const real = Date.now;
  try {
    Date.now = () => real() + 86_400_000 * 365;
    f.gateway.time = () => real();
    await f.gateway.sendCommand('c1');
    assert.is((await f.gateway.last.first('result', 'c1')).state, 'succeeded');
    Date.now = () => real() - 86_400_000 * 365;
    await f.gateway.sendCommand('c2', { issuedAt: real() - 20_000, expiresAt: real() - 1_000 });
    assert.is((await f.gateway.last.first('result', 'c2')).state, 'expired');
  } finally {
    Date.now = real;
  }
  await f.end();
});

test('S-5: server time is never earlier than the newest order verified, also after a restart', async () => {
  const f = await fixture();
  const now = Date.now();
  f.gateway.time = () => now + 3_600_000;
  await f.restart();
  await f.gateway.sendCommand('c1', { issuedAt: now + 3_600_000, expiresAt: now + 7_200_000 });
  await f.gateway.last.first('result', 'c1');
  f.gateway.time = () => now;
  await f.restart();
  // A gateway that lies about the time does not revive an older order.
  await f.gateway.sendCommand('c2', { issuedAt: now, expiresAt: now + 3_000_000 });
  assert.is((await f.gateway.last.first('result', 'c2')).state, 'expired');
  assert.equal(f.ran, ['c1']);
  await f.end();
});

test('S-5: orders of a server whose clock was ahead for a while do not make later ones expire', async () => {
  const f = await fixture();
  const now = Date.now();
  const ahead = now + 3_600_000;
  await f.gateway.sendCommand('c1', { issuedAt: ahead, expiresAt: ahead + 60_000 });
  await f.gateway.last.first('result', 'c1');
  const target = { device: f.gateway.deviceId };
  const groups = ['root'];
  f.gateway.last.send(
    await f.gateway.order({
      kind: 'membership',
      target,
      state: 'active',
      key: f.gateway.deviceKey.publicKey,
      groups,
      epoch: 1,
      revision: 1,
      issuedAt: ahead,
    }),
  );
  await f.restart();
  await f.gateway.sendCommand('c2', { issuedAt: now, expiresAt: now + 60_000 });
  assert.is((await f.gateway.last.first('result', 'c2')).state, 'succeeded');
  await f.end();
});

test('S-6: replayed orders do nothing', async () => {
  const f = await fixture();
  const { gateway } = f;
  const command = await gateway.order(gateway.command('c1'));
  const target = { device: gateway.deviceId };
  const membership = (revision: number, groups: string[]) =>
    gateway.order({
      kind: 'membership',
      target,
      state: 'active',
      key: gateway.deviceKey.publicKey,
      groups,
      epoch: 1,
      revision,
      issuedAt: Date.now(),
    });
  const old = await membership(1, ['root', 'vault']);
  gateway.last.send(old);
  gateway.last.send(await membership(2, ['root']));
  gateway.last.send(command);
  await gateway.last.first('result', 'c1');
  gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 0, 'settled');
  gateway.last.send(command);
  gateway.last.send(old);
  assert.is(await refusal(f), 'older membership');
  await gateway.sendCommand('c2', { target: { group: 'vault' } });
  assert.is(await refusal(f), 'other target');
  assert.equal(f.ran, ['c1']);
  await f.end();
});

test('S-7: a membership for another key is dropped', async () => {
  const f = await fixture();
  await f.gateway.sendMembership(5, ['root', 'vault'], 1, { key: f.gateway.serverKey.publicKey });
  assert.is(await refusal(f), 'other key');
  await f.gateway.sendMembership(5, ['root']);
  await until(() => f.gateway.last.socket.readyState === 1, 'the connection');
  await f.gateway.sendCommand('c1', { target: { group: 'vault' } });
  assert.is(await refusal(f), 'other target');
  await f.end();
});

test('S-8: a blocked device obeys no command, asks daily, and takes the order to unblock', async () => {
  const f = await fixture({ options: { random: () => 0.5 } });
  await f.gateway.sendMembership(5, ['root'], 1, { state: 'blocked' });
  await f.gateway.sendCommand('c1');
  assert.is(await refusal(f), 'not active');
  f.gateway.last.socket.close(4404, 'blocked');
  await until(() => f.disconnected.length === 1, 'the end');
  assert.is(f.disconnected[0]?.retryInMs, 64_800_000);
  await f.restart();
  await f.gateway.sendMembership(6, ['root']);
  await f.gateway.sendCommand('c2');
  await f.gateway.last.first('result', 'c2');
  assert.equal(f.ran, ['c2']);
  await f.end();
});

test('S-8, H-11: a device that learns of its deletion before welcome stays away for good', async () => {
  const gateway = await ScriptGateway.start();
  const sent: string[] = [];
  gateway.onProve = async (peer) => {
    sent.push('proof');
    const target = { device: gateway.deviceId };
    const numbers = { epoch: 1, revision: 7, issuedAt: Date.now() };
    peer.send(await gateway.order(gateway.command('early')));
    peer.send(await gateway.order({ kind: 'membership', target, state: 'deleted', groups: [], ...numbers }));
    peer.socket.close(4402);
  };
  const f = await fixture({ gateway, connect: false });
  await until(() => f.left.length === 1, 'the device to know');
  assert.equal(f.left, [{ state: 'deleted' }]);
  await f.device.stop();
  await f.device.start();
  assert.is(f.left.length, 2);
  f.device.connectNow();
  assert.equal([sent.length, f.ran], [1, []]);
  await f.end();
});

test('S-8: a moved device learns where to go', async () => {
  const f = await fixture();
  const to = { fingerprint: new Uint8Array(32).fill(9), url: 'https://other.example.net/' };
  await f.gateway.sendMembership(5, [], 1, { state: 'moved', to });
  await until(() => f.left.length === 1, 'the device to know');
  assert.equal(f.left, [{ state: 'moved', to }]);
  await f.end();
});

test.run();
