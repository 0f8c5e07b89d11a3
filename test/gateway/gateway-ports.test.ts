import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { withGateway } from './gateway-process.ts';
import { connectDevice, RawDevice } from './raw-device.ts';

test('C-5: only when all workers are full does the gateway refuse, and then it says where else to go', () =>
  withGateway(
    2,
    async (gateway) => {
      await gateway.bus.directory.putGateways([
        { ...gateway.settings, name: 'gw2', told: { address: 'ws://127.0.0.1:1', port: 1 } },
      ]);
      const devices = await gateway.connect(20);
      const refused = await waitFor(async () => {
        const device = new RawDevice(`ws://127.0.0.1:${gateway.settings.port}/`);
        await device.closed();
        return device.refused?.gateways ? device.refused : null;
      });
      assert.is(refused.status, 503);
      assert.is(refused.gateways, 'gw2');
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
