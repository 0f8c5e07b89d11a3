import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PortUnavailable } from '../../gateway/index.ts';
import { CLOSE } from '../../protocol/index.ts';
import { freePort, waitFor } from '../wait.ts';
import { connectDevice, type Identity, listIn, prove, RawDevice } from './raw-device.ts';
import { BRANCH, Rig, ROOT, withRig } from './rig.ts';

const at = (port: number) => ({ port, address: `ws://127.0.0.1:${port}` });

test('the worker announces the settings it was started with, and those in the directory rule', async () => {
  await withRig({}, async (rig) => {
    const [lease] = await rig.bus.leases.list();
    assert.equal(lease?.identity.initial, {
      runPushServer: true,
      connectionLimit: 1_000,
      group: ROOT,
      port: rig.worker.port,
      address: `ws://127.0.0.1:${rig.worker.port}`,
    });
  });
  const port = await freePort();
  await withRig({ settings: { port } }, async (rig) => assert.is(rig.worker.port, port));
});

test('G-1: sessions are told when other gateways are to be used, or in another order, and only then', () =>
  withRig({ settings: {} }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol([ROOT]));
    const other = await connectDevice(rig.url, await rig.enrol([ROOT, BRANCH]));
    await rig.putGateway({ name: 'gw2', group: BRANCH, address: 'ws://gw2.example.net' });
    assert.equal([...(await other.device.take('update')).gateways].sort(), ['gw1', 'gw2']);
    // New weights change the order only for those who come.
    const changed = { name: 'gw2', group: BRANCH, address: 'ws://gw2.example.net:1', weight: 3 };
    await rig.putGateway({ ...changed, revision: 2 });
    await rig.putGateway({ ...changed, draining: true, revision: 3 });
    assert.equal((await other.device.take('update')).gateways, ['gw1', 'gw2']);
    assert.equal(
      other.device.received.filter(({ t }) => t === 'update'),
      [],
    );
    device.send({ t: 'beat' });
    await device.take('beat');
    assert.is(device.received.length, 0);
  }));

test('a gateway that is switched off redirects and refuses devices; switched on, it serves again', () =>
  withRig({ settings: {} }, async (rig) => {
    const port = rig.worker.port;
    await rig.putGateway({ name: 'gw2', address: 'ws://gw2.example.net', port: 1 });
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    await rig.putGateway({ port, runPushServer: false });
    const redirect = await device.take('redirect');
    assert.is(redirect.reason, 'drain');
    assert.equal(redirect.to, ['gw2']);
    assert.is((await device.closed()).code, CLOSE.draining);
    const refused = new RawDevice(rig.url);
    await refused.closed();
    assert.is((await rig.bus.leases.list()).length, 1, 'the lease stays');
    await rig.putGateway({ port, runPushServer: true });
    await waitFor(() => rig.worker.readiness().ready);
    await connectDevice(rig.url, identity);
  }));

test('a push server that is off at the start listens once it is switched on', async () => {
  const port = await freePort();
  await withRig({ settings: { port, runPushServer: false } }, async (rig) => {
    assert.not(rig.worker.readiness().ready);
    assert.is((await rig.bus.leases.list()).length, 1);
    await rig.putGateway({ port, runPushServer: true });
    await waitFor(() => rig.worker.port === port);
    await connectDevice(rig.url, await rig.enrol());
  });
});

test('G-3: at a change of port the new one serves first; then devices get it and move', async () => {
  const [first, second] = [await freePort(), await freePort()];
  const settings = { port: first, address: `ws://127.0.0.1:${first}` };
  await withRig({ settings, config: { drainPerSecond: 20 } }, async (rig) => {
    await rig.putGateway({ name: 'gw0', address: 'ws://127.0.0.1:1' });
    const old = await Promise.all(
      Array.from({ length: 6 }, async () => connectDevice(rig.url, await rig.enrol())),
    );
    const address = `ws://127.0.0.1:${second}`;
    await rig.putGateway({ port: second, address, told: at(first), revision: 2 });
    await waitFor(async () => (await rig.load()).port === second);
    const { device } = await connectDevice(address, await rig.enrol());
    assert.is((await rig.load()).leaving, undefined, 'nobody leaves for an address that no list has');
    await rig.putLists({ [ROOT]: [{ name: 'gw1', url: address }] }, 2);
    await rig.putGateway({ port: second, address, former: [at(first)], revision: 2 });
    for (const { device: leaver } of old) {
      const { to, reason } = await leaver.take('redirect');
      assert.is(reason, 'drain');
      assert.equal(to, ['gw1', 'gw0']);
      assert.ok(leaver.heard.indexOf('order') < leaver.heard.indexOf('redirect'));
      assert.equal(listIn(await leaver.take('order'))?.gateways, [{ name: 'gw1', url: address }]);
      assert.is((await leaver.closed()).code, CLOSE.draining);
    }
    const load = await waitFor(async () => {
      const now = await rig.load();
      return now.leaving === undefined && now;
    });
    assert.is(load.port, second);
    assert.is(load.revision, 2);
    await rig.putGateway({ port: second, address, revision: 2 });
    await waitFor(async () => {
      const late = new RawDevice(`ws://127.0.0.1:${first}/`);
      await waitFor(() => late.closing !== null || late.received.length > 0);
      return late.closing !== null && late.refused === null && late.heard.length === 0;
    });
    device.received.length = 0;
    device.send({ t: 'beat' });
    await device.take('beat');
  });
});

test('a port that is taken is reported with what to do, and the old one goes on serving', async () => {
  const port = await freePort();
  const told = { port, address: `ws://127.0.0.1:${port}` };
  await withRig({ settings: told }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    const stranger = createServer();
    stranger.listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const taken = (stranger.address() as AddressInfo).port;
    try {
      const wanted = { port: taken, address: `ws://127.0.0.1:${taken}` };
      await rig.putGateway({ ...wanted, told, revision: 2 });
      const load = await waitFor(async () => {
        const now = await rig.load();
        return now.problem !== undefined && now;
      });
      assert.match(load.problem ?? '', `port ${taken} is in use by another program`);
      assert.is(load.port, port);
      assert.is(load.revision, 1);
      assert.is(load.leaving, undefined);
      // Nobody is told of an address that nobody listens at.
      const newcomer = new RawDevice(rig.url);
      await prove(newcomer, await rig.enrol());
      await newcomer.take('welcome');
      device.send({ t: 'beat' });
      await device.take('beat');
      assert.is(device.received.filter(({ t }) => t === 'update').length, 0);
    } finally {
      stranger.close();
    }
    await once(stranger, 'close');
    await waitFor(async () => (await rig.load()).revision === 2, {
      what: 'the port to be taken once it is free',
    });
    assert.is(rig.worker.port, taken);
    assert.is(device.closing, null);
    await rig.putGateway({ ...at(taken), former: [told], revision: 2 });
    assert.equal((await device.take('redirect')).to, ['gw1']);
    assert.is((await device.closed()).code, CLOSE.draining);
  });
});

/** What a device that comes by this port gets in place of a session, if it gets none. */
async function comesBy(port: number, identity: Identity) {
  const device = new RawDevice(`ws://127.0.0.1:${port}/`);
  await prove(device, identity, { gateways: [1, 1] });
  await waitFor(() => device.heard.some((t) => t === 'welcome' || t === 'redirect'), {
    what: `an answer on port ${port}`,
  });
  if (device.heard.includes('welcome')) return null;
  const list = listIn(await device.take('order'));
  const { to } = await device.take('redirect');
  return { list: list?.gateways, to, code: (await device.closed()).code, heard: device.heard };
}

test('H-10: a former port stays open, and sends on, until the directory forgets it', async () => {
  const [first, second] = [await freePort(), await freePort()];
  await withRig({ settings: at(first) }, async (rig) => {
    const identity = await rig.enrol();
    await rig.putLists({ [ROOT]: [{ name: 'gw1', url: at(first).address }] }, 1);
    await rig.putGateway({ ...at(second), told: at(first), revision: 2 });
    await waitFor(() => rig.worker.port === second);
    assert.is(await comesBy(first, identity), null, 'who has no other address is served at the old one');
    const gateways = [{ name: 'gw1', url: at(second).address }];
    await rig.putLists({ [ROOT]: gateways }, 2);
    await rig.putGateway({ ...at(second), former: [at(first)], revision: 2 });
    const answer = await waitFor(() => comesBy(first, identity));
    assert.equal(answer, {
      list: gateways,
      to: ['gw1'],
      code: CLOSE.redirected,
      heard: ['challenge', 'order', 'redirect'],
    });
    const { device } = await connectDevice(at(second).address, identity);
    assert.ok(await comesBy(first, await rig.enrol()));
    device.send({ t: 'beat' });
    await device.take('beat');
    await rig.putGateway({ ...at(second), revision: 2 });
    await waitFor(
      async () => {
        const late = new RawDevice(`ws://127.0.0.1:${first}/`);
        await waitFor(() => late.closing !== null || late.received.length > 0);
        return late.heard.length === 0;
      },
      { what: 'the port to be free' },
    );
  });
});

test('H-10: after a restart a gateway listens on those of its former ports that are free', async () => {
  const [first, second, taken] = [await freePort(), await freePort(), await freePort()];
  const stranger = createServer((socket) => socket.destroy()).listen(taken, '127.0.0.1');
  await once(stranger, 'listening');
  const former = [at(taken), at(first)];
  await withRig({ settings: { ...at(second), former } }, async (rig) => {
    await rig.putLists({ [ROOT]: [{ name: 'gw1', url: at(second).address }] }, 2);
    const identity = await rig.enrol();
    await waitFor(() => comesBy(first, identity));
    assert.is((await rig.load()).problem, undefined);
    await connectDevice(at(second).address, await rig.enrol());
  }).finally(() => stranger.close());
});

test('a gateway whose port is taken at the start serves at its previous address', async () => {
  const [first, taken] = [await freePort(), await freePort()];
  const stranger = createServer((socket) => socket.destroy()).listen(taken, '127.0.0.1');
  await once(stranger, 'listening');
  await withRig({ settings: { ...at(taken), told: at(first), revision: 2 } }, async (rig) => {
    assert.is(rig.worker.port, first);
    const device = new RawDevice(rig.url);
    await prove(device, await rig.enrol());
    await device.take('welcome');
    await waitFor(async () => (await rig.load()).problem?.includes(`port ${taken} is in use`));
    stranger.close();
    await waitFor(() => rig.worker.port === taken, { what: 'the port to be taken once it is free' });
    await rig.putGateway({ ...at(taken), former: [at(first)], revision: 2 });
    assert.equal((await device.take('redirect')).to, ['gw1']);
  }).finally(() => stranger.close());
});

test('a device behind a proxy that still uses the old port is served, not redirected', async () => {
  const [first, second] = [await freePort(), await freePort()];
  const address = 'ws://localhost:443';
  await withRig({ settings: { port: first, address } }, async (rig) => {
    const { device } = await connectDevice(at(first).address, await rig.enrol());
    await waitFor(async () => (await rig.load()).revision === 1);
    await rig.putGateway({ port: second, address, former: [{ port: first, address }], revision: 2 });
    await waitFor(async () => (await rig.load()).revision === 2);
    for (const port of [first, second]) await connectDevice(at(port).address, await rig.enrol());
    assert.is((await rig.load()).leaving, undefined);
    device.send({ t: 'beat' });
    await device.take('beat');
  });
});

test('an address that does not resolve is reported, and devices get the previous one', () =>
  withRig({ settings: {} }, async (rig) => {
    await waitFor(async () => (await rig.load()).revision === 1);
    await rig.putGateway({ address: 'ws://gateway.invalid:13295', revision: 2 });
    await waitFor(async () => (await rig.load()).problem?.includes('gateway.invalid does not resolve'));
    await connectDevice(rig.url, await rig.enrol());
    assert.is((await rig.load()).revision, 1);
    await rig.putGateway({ address: 'ws://localhost:13295', revision: 3 });
    await waitFor(async () => (await rig.load()).revision === 3);
    assert.is((await rig.load()).problem, undefined);
  }));

test('C-5: a drained gateway redirects its devices at the given rate, and newcomers at once', () =>
  withRig({ settings: {}, config: { drainPerSecond: 20 } }, async (rig) => {
    await rig.putGateway({ name: 'gw2', address: 'ws://gw2.example.net' });
    const devices = await Promise.all(
      Array.from({ length: 8 }, async () => (await connectDevice(rig.url, await rig.enrol())).device),
    );
    await rig.putGateway({ draining: true, revision: 2 });
    const load = await waitFor(async () => {
      const now = await rig.load();
      return now.leaving && now;
    });
    assert.is(load.leaving?.why, 'drain');
    assert.is(load.port, undefined);
    const refused = new RawDevice(rig.url);
    await refused.closed();
    assert.is(refused.refused?.status, 503);
    assert.is(refused.refused?.gateways, 'gw2');
    assert.ok(Number(refused.refused?.retryAfter) >= 1);
    for (const device of devices) {
      assert.equal((await device.take('redirect')).to, ['gw2']);
      assert.is((await device.closed()).code, CLOSE.draining);
    }
    await waitFor(async () => (await rig.load()).leaving?.left === 0);
    assert.is((await rig.bus.leases.list()).length, 1, 'the lease stays');
  }));

test('a drain that is taken back ends at once: who is still there stays, and newcomers are welcome', () =>
  withRig({ settings: {}, config: { drainPerSecond: 2 } }, async (rig) => {
    const devices = await Promise.all(
      Array.from({ length: 6 }, async () => (await connectDevice(rig.url, await rig.enrol())).device),
    );
    await rig.putGateway({ draining: true, revision: 2 });
    await waitFor(() => devices.some(({ closing }) => closing));
    await rig.putGateway({ revision: 3 });
    await waitFor(async () => {
      const { leaving, port, revision } = await rig.load();
      return leaving === undefined && port === rig.worker.port && revision === 3;
    });
    const stayed = devices.filter(({ closing }) => !closing);
    assert.ok(stayed.length >= 3, `${stayed.length} stayed`);
    await connectDevice(rig.url, await rig.enrol());
    for (const device of stayed) {
      device.send({ t: 'beat' });
      await device.take('beat');
    }
  }));

test('a port in use at the start is an error that says so, and leaves no lease', () =>
  withRig({}, async (rig) => {
    const second = new Rig({
      bus: rig.bus,
      config: { name: 'gw2', initial: { group: ROOT, port: rig.worker.port } },
    });
    try {
      await second.worker.start();
      assert.unreachable('the port is taken');
    } catch (error) {
      assert.instance(error, PortUnavailable);
      assert.match((error as Error).message, String(rig.worker.port));
    }
    assert.is((await rig.bus.leases.list()).length, 1);
  }));

test('H-10: a gateway that serves another group from now on sends the others away', () =>
  withRig({ settings: {} }, async (rig) => {
    const port = rig.worker.port;
    const outside = await connectDevice(rig.url, await rig.enrol([ROOT]));
    const inside = await connectDevice(rig.url, await rig.enrol([ROOT, BRANCH]));
    await rig.putGateway({ port, group: BRANCH });
    assert.is((await outside.device.take('redirect')).reason, 'scope');
    assert.is((await outside.device.closed()).code, CLOSE.outOfScope);
    inside.device.send({ t: 'beat' });
    await inside.device.take('beat');
  }));

test('C-5: a full gateway refuses, says where else to go, and admits again below 85 %', () =>
  withRig({ config: { initial: { group: ROOT, port: 0, connectionLimit: 10 } } }, async (rig) => {
    const identities = await Promise.all(Array.from({ length: 11 }, () => rig.enrol()));
    const devices = [];
    for (const identity of identities.slice(0, 10)) devices.push(await connectDevice(rig.url, identity));
    const last = identities[10];
    if (!last) throw new Error('no device');
    await rig.putGateway({ port: rig.worker.port, connectionLimit: 10 });
    await rig.putGateway({ name: 'gw2', address: 'ws://gw2.example.net' });
    await rig.putGateway({ name: 'gw3', address: 'ws://gw3.example.net', weight: 0 });
    await rig.putGateway({ name: 'gw4', address: 'ws://gw4.example.net', group: BRANCH });
    await waitFor(async () => {
      const refused = new RawDevice(rig.url);
      await refused.closed();
      assert.is(refused.refused?.status, 503);
      return refused.refused?.gateways === 'gw2';
    });
    await devices[0]?.device.close();
    await waitFor(async () => (await rig.metric('connections')) === 9);
    const stillRefused = new RawDevice(rig.url);
    await stillRefused.closed();
    await devices[1]?.device.close();
    await waitFor(async () => (await rig.metric('connections')) === 8);
    await connectDevice(rig.url, last);
    assert.ok(rig.worker.readiness().ready);
  }));

test('a directory that lost its data is no reason to forget the gateways', () =>
  withRig({ settings: {} }, async (rig) => {
    await rig.putGateway({ name: 'gw2', address: 'ws://gw2.example.net' });
    const { device } = await connectDevice(rig.url, await rig.enrol());
    await waitFor(() => rig.worker.readiness().ready);
    const { look, gateways } = rig.bus.inner.directory;
    let reads = 0;
    rig.bus.inner.directory.look = async () => ({ generation: null, devices: 0, writing: false });
    rig.bus.inner.directory.gateways = async () => {
      reads++;
      return [];
    };
    await waitFor(() => reads >= 3);
    device.received.length = 0;
    device.send({ t: 'beat' });
    await device.take('beat');
    assert.is(device.received.length, 0);
    assert.not(rig.worker.readiness().ready);
    rig.bus.inner.directory.look = look;
    rig.bus.inner.directory.gateways = gateways;
  }));

test.run();
