/** Which lists of gateways a device takes, and where it therefore dials. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FileStore, nodeCrypto, wsDial } from '../../device/index.ts';
import { encodeValue } from '../../protocol/index.ts';
import { type Fixture, fixture } from './fixture.ts';
import { ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

const FOREIGN = { name: 'gw-1', url: 'ws://127.0.0.1:9' };

/** A device that notes every url it dials, with a list of its gateway. */
async function listed() {
  const dialed: string[] = [];
  const gateway = await ScriptGateway.start();
  const dial = wsDial();
  const f = await fixture({
    gateway,
    store: gateway.store(await gateway.member([gateway.address])),
    options: {
      probing: false,
      dial: (url, events) => {
        dialed.push(url);
        return dial(url, events);
      },
    },
  });
  return { ...f, dialed };
}

async function refusal(f: Fixture): Promise<string> {
  return (await until(() => f.refused.shift(), 'a refusal')).reason;
}

test('G-18: a list that is older, for another group, or not signed changes nothing', async () => {
  const f = await listed();
  const { gateway } = f;
  const stranger = await nodeCrypto.generate();
  const newest = await gateway.list([gateway.address]);
  gateway.last.send(newest);
  await until(async () => (await f.store.load()).state.list?.body.join() === newest.body.join(), 'the list');
  gateway.last.send(newest);
  const wrong = [
    [await gateway.list([FOREIGN], {}, stranger), 'bad signature'],
    [await gateway.list([FOREIGN], { revision: 1 }), 'older list'],
    [await gateway.list([FOREIGN], { target: { group: 'other' } }), 'other target'],
    [{ ...newest, body: encodeValue({ kind: 'gateways' }) }, 'bad signature'],
  ] as const;
  for (const [list, reason] of wrong) {
    gateway.last.send(list);
    assert.is(await refusal(f), reason);
  }
  gateway.last.socket.terminate();
  await gateway.session(2);
  assert.equal([...new Set(f.dialed)], [gateway.address.url]);
  assert.equal((await f.store.load()).state.gateways, [gateway.address]);
  await f.end();
});

test('G-1, G-3: whatever names a gateway says, a device dials only what its signed list holds', async () => {
  const f = await listed();
  const { gateway } = f;
  const address = { name: 'gw-9', url: FOREIGN.url };
  const says: [message: Record<string, unknown>, breaksRule: boolean][] = [
    [{ t: 'update', gateways: ['gw-9'] }, false],
    [{ t: 'redirect', to: ['gw-9'], reason: 'drain', withinMs: 0 }, false],
    [{ t: 'update', gateways: [address] }, true],
    [{ t: 'redirect', to: [address], reason: 'drain', withinMs: 0 }, true],
    [{ t: 'redirect', to: [FOREIGN.url], reason: 'drain', withinMs: 0 }, true],
  ];
  for (const [index, [message, breaksRule]] of says.entries()) {
    gateway.last.socket.send(encodeValue(message));
    const { reason } = await until(() => {
      if (message.t === 'update' && !breaksRule) gateway.last.socket.close(4001);
      return f.disconnected[index];
    }, 'the end of the session');
    assert.is(/F-6/.test(reason), breaksRule, reason);
    await gateway.session(index + 2);
  }
  gateway.refuse = 0;
  gateway.elsewhere = ['gw-9', FOREIGN.url];
  gateway.last.socket.terminate();
  await until(() => f.dialed.length >= says.length + 3, 'attempts');
  assert.equal([...new Set(f.dialed)], [gateway.address.url]);
  assert.equal(f.device.gateways, [gateway.address]);
  await f.end();
});

test('G-18: a device that is moved takes the list of its new group, whatever its number', async () => {
  const f = await listed();
  const { gateway } = f;
  const two = await ScriptGateway.start('gw-2', gateway);
  const held = (await f.store.load()).state.list;
  const its = { target: { group: 'berlin' }, revision: 1 };
  gateway.last.send(await gateway.list([two.address], its));
  assert.is(await refusal(f), 'other target');
  await gateway.sendMembership(2, ['root', 'berlin']);
  gateway.last.send(await gateway.list([FOREIGN]));
  assert.is(await refusal(f), 'other target');
  gateway.last.socket.terminate();
  assert.equal((await (await gateway.session(2)).first('prove')).gateways, [0, 0]);
  gateway.last.send(await gateway.list([two.address], its));
  await until(async () => (await f.store.load()).state.list?.body.join() !== held?.body.join(), 'the list');
  gateway.last.send({ t: 'redirect', to: ['gw-2'], reason: 'scope', withinMs: 0 });
  assert.equal((await (await two.session()).first('prove')).gateways, [1, 1]);
  await f.end();
  await two.stop();
});

test('G-18: the list is on disk, and counts again from the first session on', async () => {
  const gateway = await ScriptGateway.start();
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-list-'));
  const store = await FileStore.open(folder);
  const member = await gateway.member([gateway.address], { epoch: 2 });
  // As in a state folder from before there were signed lists.
  const other = { name: 'gw-0', url: 'ws://127.0.0.1:1' };
  await store.saveState(gateway.state({ ...member, gateways: [other, gateway.address] }));
  await store.close();
  const f = await fixture({ gateway, store: await FileStore.open(folder), options: { probing: false } });
  assert.is((await gateway.last.first('prove')).gateways[0], 2);
  await until(() => f.device.gateways.length === 1, 'the signed list');
  assert.equal(f.device.gateways, [gateway.address]);
  await f.end();
  rmSync(folder, { recursive: true });
});

test.run();
