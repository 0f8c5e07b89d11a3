import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DeviceKey, nodeCrypto } from '../../device/index.ts';
import { type Edition, encodePass, passBytes, type SignedServerKeys } from '../../protocol/index.ts';
import { newKeyPair, signedKeys } from '../server-keys.ts';
import { type Fixture, fixture } from './fixture.ts';
import { ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

const root = newKeyPair();

function keysMessage(edition: Edition, signing: DeviceKey[]): { t: 'keys' } & SignedServerKeys {
  return {
    t: 'keys',
    ...signedKeys(
      root,
      edition,
      signing.map(({ publicKey }) => publicKey),
    ),
  };
}

/** A device that enrolled with the gateway's own signing key. */
async function enrolled(): Promise<Fixture & { next: DeviceKey }> {
  const gateway = await ScriptGateway.start();
  const { t: _, ...keys } = keysMessage([1, 1], [gateway.serverKey]);
  const f = await fixture({ gateway, store: gateway.store({ keys }) });
  return Object.assign(f, { next: await nodeCrypto.generate() });
}

async function refusal(f: Fixture): Promise<string> {
  return (await until(() => f.refused.shift(), 'a refusal')).reason;
}

async function obeys(f: Fixture, id: string, key: DeviceKey): Promise<void> {
  f.gateway.last.send(await f.gateway.order(f.gateway.command(id), key));
  await f.gateway.last.first('result', id);
}

test('K-4: a device obeys every signing key of the newest document, and of no earlier one', async () => {
  const f = await enrolled();
  const { gateway, next } = f;
  assert.equal((await gateway.last.first('prove')).keys, [1, 1]);
  gateway.last.send(await gateway.order(gateway.command('c1'), next));
  assert.is(await refusal(f), 'bad signature');
  gateway.last.send(keysMessage([1, 2], [gateway.serverKey, next]));
  await obeys(f, 'c2', next);
  await obeys(f, 'c3', gateway.serverKey);
  gateway.last.send(keysMessage([1, 3], [next]));
  gateway.last.send(await gateway.order(gateway.command('c4')));
  assert.is(await refusal(f), 'bad signature');
  await obeys(f, 'c5', next);
  assert.equal(f.ran, ['c2', 'c3', 'c5']);
  await f.end();
});

test('K-3, K-5: the newest document is kept across restarts, and so is an earlier membership', async () => {
  const f = await enrolled();
  const { gateway, next } = f;
  await gateway.sendMembership(3, ['root', 'shops']);
  gateway.last.send(keysMessage([2, 1], [next]));
  await obeys(f, 'c1', next);
  await f.restart();
  const { keys, membership } = await gateway.last.first('prove');
  assert.equal(keys, [2, 1]);
  assert.equal(membership, [1, 3]);
  await obeys(f, 'c2', next);
  gateway.last.send(await gateway.order(gateway.command('c3')));
  assert.is(await refusal(f), 'bad signature');
  await f.end();
});

test('K-3: an older document, or one that the root did not sign, changes nothing', async () => {
  const f = await enrolled();
  const { gateway, next } = f;
  const stranger = newKeyPair();
  const wrong = [
    keysMessage([1, 1], [next]),
    { ...keysMessage([1, 2], [next]), sig: new Uint8Array(64) },
    { t: 'keys' as const, ...signedKeys(stranger, [9, 1], [next.publicKey]) },
    { t: 'keys' as const, ...signedKeys(stranger, [9, 1], [next.publicKey], stranger) },
  ];
  for (const message of wrong) {
    gateway.last.send(message);
    assert.is(await refusal(f), 'server keys');
  }
  await obeys(f, 'c1', gateway.serverKey);
  gateway.last.send(await gateway.order(gateway.command('c2'), next));
  assert.is(await refusal(f), 'bad signature');
  await f.end();
});

test('K-3: a new root counts when the root before it signed as well, one after the other', async () => {
  const f = await enrolled();
  const { gateway, next } = f;
  const [second, third] = [newKeyPair(), newKeyPair()];
  const skipping = { t: 'keys' as const, ...signedKeys(third, [1, 3], [next.publicKey], second) };
  gateway.last.send(skipping);
  assert.is(await refusal(f), 'server keys');
  gateway.last.send({ t: 'keys', ...signedKeys(second, [1, 2], [next.publicKey], root) });
  gateway.last.send(skipping);
  await obeys(f, 'c1', next);
  assert.equal(f.refused, []);
  await f.end();
});

test('H-11, K-5: keys and a membership by a new signing key count before welcome', async () => {
  const f = await enrolled();
  const { gateway, next } = f;
  const target = { device: gateway.deviceId };
  const blocked = await gateway.order(
    { kind: 'membership', target, state: 'blocked', groups: [], epoch: 1, revision: 9, issuedAt: 1 },
    next,
  );
  gateway.onProve = (peer) => {
    peer.send(keysMessage([1, 2], [next]));
    peer.send(blocked);
    peer.socket.close(4404);
  };
  gateway.last.socket.terminate();
  await until(() => f.disconnected.find(({ code }) => code === 4404), 'the refusal');
  gateway.onProve = null;
  f.device.connectNow();
  const peer = await gateway.session(2);
  assert.equal((await peer.first('prove')).membership, [1, 9]);
  await f.end();
});

test('S-9, K-4: a pass by a signing key that came just before it vouches for the gateway', async () => {
  const gateway = await ScriptGateway.start();
  const other = await ScriptGateway.start('gw-2', gateway);
  const next = await nodeCrypto.generate();
  const body = encodePass({ gateway: gateway.name, issuedAt: 1, expiresAt: Date.now() + 86_400_000 });
  const pass = { body, sig: await nodeCrypto.sign(next.privateKey, passBytes(body)) };
  const gateways = [gateway.address, other.address];
  gateway.onProve = (peer) => {
    peer.send(keysMessage([1, 2], [gateway.serverKey, next]));
    const names = gateways.map(({ name }) => name);
    peer.send({ t: 'welcome', session: 1, time: Date.now(), heartbeatMs: 60_000, pass, gateways: names });
    gateway.proofs++;
  };
  const { t: _, ...keys } = keysMessage([1, 1], [gateway.serverKey]);
  const f = await fixture({ gateway, store: gateway.store({ keys, gateways }) });
  await obeys(f, 'c1', next);
  assert.is(f.device.session?.gateway.name, gateway.name);
  assert.is(other.proofs, 0);
  await f.end();
  await other.stop();
});

test.run();
