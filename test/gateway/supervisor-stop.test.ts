import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { withGateway } from './gateway-process.ts';

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

test.run();
