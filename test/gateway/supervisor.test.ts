import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE } from '../../protocol/index.ts';
import { freePort, waitFor } from '../wait.ts';
import { withGateway } from './gateway-process.ts';
import { connectDevice, RawDevice } from './raw-device.ts';

test('workers share the port and the connection limit, each with a lease; health and metrics are on one port', () =>
  withGateway(
    2,
    async (gateway) => {
      await gateway.connect(30);
      const leases = await waitFor(async () => {
        const all = await gateway.leases();
        return all.reduce((sum, { load }) => sum + load.connections, 0) === 30 && all;
      });
      assert.equal(
        leases.map(({ identity, load }) => [identity.worker, load.limit, load.port, load.revision]),
        [
          ['gw1/0', 51, gateway.settings.port, 1],
          ['gw1/1', 50, gateway.settings.port, 1],
        ],
      );
      assert.ok(
        leases.every(({ load }) => load.connections > 0),
        'the kernel spreads connections',
      );
      const { status, ready, workers } = await gateway.readiness();
      assert.is(status, 200);
      assert.ok(ready);
      assert.equal(
        workers.map(({ worker, state, pid, restarts }) => [worker, state, pid, restarts]),
        leases.map(({ identity }) => [identity.worker, 'running', identity.pid, 0]),
      );
      const text = await gateway.metrics();
      const sessions = [...text.matchAll(/^pushpoint_gateway_sessions\{worker="gw1\/\d"\} (\d+)$/gm)];
      assert.is(sessions.length, 2);
      assert.is(
        sessions.reduce((sum, [, count]) => sum + Number(count), 0),
        30,
      );
      assert.match(text, 'pushpoint_gateway_worker_up{worker="gw1/1"} 1');
    },
    { connectionLimit: 101 },
  ));

test('a worker that dies is replaced; its lease ends at once, and the devices of its sibling notice nothing', () =>
  withGateway(2, async (gateway) => {
    const devices = await gateway.connect(12);
    const [victim] = await gateway.leases();
    if (!victim) throw new Error('no lease');
    const killedAt = Date.now();
    process.kill(victim.identity.pid, 'SIGKILL');
    await waitFor(async () =>
      (await gateway.leases()).every(({ incarnation }) => incarnation !== victim.incarnation),
    );
    assert.ok(Date.now() - killedAt < 5_000, 'before the lease would have expired');
    const { workers } = await gateway.until(({ workers: all }) =>
      all.every(({ port, pid }) => port && pid !== victim.identity.pid),
    );
    assert.is(workers[0]?.restarts, 1);
    const lost = devices.filter(({ closing }) => closing);
    assert.is(lost.length, victim.load.connections || lost.length);
    assert.ok(lost.length > 0 && lost.length < devices.length, `${lost.length} lost`);
    for (const { closing } of lost) assert.is(closing?.code, 1006);
    for (const device of devices.filter(({ closing }) => !closing)) {
      device.send({ t: 'beat' });
      await device.take('beat');
    }
    assert.match(await gateway.metrics(), 'pushpoint_gateway_worker_restarts_total{worker="gw1/0"} 1');
  }));

test('SIGTERM sends all devices away and ends every process with code 0 and no lease left', () =>
  withGateway(2, async (gateway) => {
    const devices = await gateway.connect(10);
    assert.is((await gateway.program.stop()).code, 0);
    for (const device of devices) assert.is((await device.closed()).code, CLOSE.draining);
    assert.equal(await gateway.leases(), []);
  }));

test('workers whose supervisor was killed leave in order', () =>
  withGateway(2, async (gateway) => {
    const devices = await gateway.connect(10);
    await gateway.program.kill('SIGKILL');
    for (const device of devices) assert.is((await device.closed()).code, CLOSE.draining);
    assert.equal(await waitFor(async () => (await gateway.leases()).length === 0), true);
  }));

test('a port that another program has is never shared with it: every worker says so and serves the port of before', () =>
  withGateway(2, async (gateway) => {
    const before = gateway.settings.port;
    const [device] = await gateway.connect(1);
    const stranger = createServer((socket) => socket.end('I am somebody else'));
    stranger.listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const { port } = stranger.address() as AddressInfo;
    await gateway.put({ port });
    await gateway.until(({ workers }) =>
      workers.every(({ problem }) => problem?.includes(`port ${port} is in use`)),
    );
    for (const { load } of await waitFor(async () => {
      const leases = await gateway.leases();
      return leases.every(({ load }) => load.problem) && leases;
    })) {
      assert.is(load.port, before);
      assert.is(load.revision, 1);
    }
    await gateway.connect(4, before);
    stranger.close();
    await once(stranger, 'close');
    await gateway.put({});
    await gateway.until(({ workers }) => workers.every((worker) => worker.port === port && !worker.problem));
    await device?.closed();
    await gateway.connect(4);
  }));

test('G-3: at a change of port both workers listen on the new one, and every device of the old one is sent there', () =>
  withGateway(2, async (gateway) => {
    const devices = await gateway.connect(20);
    const port = await freePort();
    const address = `ws://127.0.0.1:${port}`;
    await gateway.put({ port, address });
    for (const device of devices) {
      assert.equal((await device.take('redirect')).to, [{ name: 'gw1', url: address }]);
      assert.is((await device.closed()).code, CLOSE.draining);
    }
    await gateway.until(({ workers }) => workers.every((worker) => worker.port === port));
    const again = await gateway.connect(10);
    await waitFor(async () =>
      (await gateway.leases()).every(
        ({ load }) => load.revision === 2 && load.leaving === undefined && load.port === port,
      ),
    );
    assert.ok(again.every(({ closing }) => !closing));
  }));

test('C-5: only when all workers are full does the gateway refuse, and then it says where else to go', () =>
  withGateway(
    2,
    async (gateway) => {
      await gateway.bus.directory.putGateways([
        { ...gateway.settings, name: 'gw2', address: 'ws://127.0.0.1:1', port: 1 },
      ]);
      const devices = await gateway.connect(20);
      const refused = await waitFor(async () => {
        const device = new RawDevice(`ws://127.0.0.1:${gateway.settings.port}/`);
        await device.closed();
        return device.refused?.gateways ? device.refused : null;
      });
      assert.is(refused.status, 503);
      assert.is(refused.gateways, 'gw2 ws://127.0.0.1:1');
      assert.ok(Number(refused.retryAfter) > 0);
      for (const device of devices.slice(0, 10)) await device.close();
      const identity = await gateway.enrol();
      await waitFor(async () => {
        const { device } = await connectDevice(`ws://127.0.0.1:${gateway.settings.port}/`, identity);
        return device.closing === null;
      });
    },
    { connectionLimit: 20 },
  ));

test.run();
