import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PortUnavailable } from '../../gateway/index.ts';
import { CLOSE } from '../../protocol/index.ts';
import { freePort, waitFor } from '../wait.ts';
import { connectDevice, RawDevice } from './raw-device.ts';
import { BRANCH, Rig, ROOT, withRig } from './rig.ts';

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

test('G-1: sessions are told when their list of gateways changed, and only then', () =>
  withRig({ settings: {} }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol([ROOT]));
    const other = await connectDevice(rig.url, await rig.enrol([ROOT, BRANCH]));
    await rig.putGateway({ name: 'gw2', group: BRANCH, address: 'ws://gw2.example.net' });
    const { gateways } = await other.device.take('update');
    assert.equal(
      gateways.map(({ name }) => name),
      ['gw1', 'gw2'],
    );
    device.send({ t: 'beat' });
    await device.take('beat');
    assert.is(device.received.length, 0);
  }));

test('a push server that is switched off sends its devices away and refuses others; switched on it serves again', () =>
  withRig({ settings: {} }, async (rig) => {
    const port = rig.worker.port;
    await rig.putGateway({ name: 'gw2', address: 'ws://gw2.example.net', port: 1 });
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    await rig.putGateway({ port, runPushServer: false });
    const redirect = await device.take('redirect');
    assert.is(redirect.reason, 'drain');
    assert.equal(
      redirect.to.map(({ name }) => name),
      ['gw2'],
    );
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

test('a change of port keeps the sessions; a port that is taken is reported while the old one goes on', async () => {
  const [first, second] = [await freePort(), await freePort()];
  await withRig({ settings: { port: first }, config: { leaseTtlMs: 300 } }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    await rig.putGateway({ port: second });
    await waitFor(() => rig.worker.port === second);
    await connectDevice(`ws://127.0.0.1:${second}/`, await rig.enrol());
    const late = new RawDevice(`ws://127.0.0.1:${first}/`);
    await late.closed();
    device.send({ t: 'beat' });
    await device.take('beat');

    const occupant = new Rig({ config: { name: 'gw9' }, bus: rig.bus });
    await occupant.worker.start();
    try {
      await rig.putGateway({ port: occupant.worker.port });
      await waitFor(async () => {
        const leases = await rig.bus.leases.list();
        return leases
          .find(({ identity }) => identity.gateway === 'gw1')
          ?.load.problem?.includes('cannot listen');
      });
      assert.is(rig.worker.port, second);
      await connectDevice(rig.url, await rig.enrol());
      await rig.putGateway({ port: first });
      await waitFor(() => rig.worker.port === first);
    } finally {
      await occupant.stop();
    }
  });
});

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

test('a full worker stops listening and listens again below 85 %', () =>
  withRig({ config: { initial: { group: ROOT, port: 0, connectionLimit: 10 } } }, async (rig) => {
    const identities = await Promise.all(Array.from({ length: 11 }, () => rig.enrol()));
    const devices = [];
    for (const identity of identities.slice(0, 10)) devices.push(await connectDevice(rig.url, identity));
    const last = identities[10];
    if (!last) throw new Error('no device');
    const refused = new RawDevice(rig.url);
    await refused.closed();
    assert.is(refused.received.length, 0);
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
    const { epoch, gateways } = rig.bus.inner.directory;
    let reads = 0;
    rig.bus.inner.directory.epoch = async () => null;
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
    rig.bus.inner.directory.epoch = epoch;
    rig.bus.inner.directory.gateways = gateways;
  }));

test.run();
