import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE } from '../../protocol/index.ts';
import { freePort, waitFor } from '../wait.ts';
import { withGateway } from './gateway-process.ts';
import { connectDevice, RawDevice } from './raw-device.ts';

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
    // A worker that is replaced now serves what its sibling serves.
    const [victim] = await gateway.leases();
    process.kill(victim?.identity.pid ?? 0, 'SIGKILL');
    await gateway.until(({ workers }) =>
      workers.some(({ restarts, port: served }) => restarts === 1 && served === before),
    );
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
