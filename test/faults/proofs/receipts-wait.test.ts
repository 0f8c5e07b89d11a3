/** Devices are done in time, and their receipts reach the ledger after the clock has run out. */
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { workFor } from '../../e2e/fleet.ts';
import { withLab } from '../../e2e/lab.ts';
import { waitFor } from '../../wait.ts';
import { allowReceipts, holdReceipts } from '../make/held-receipts.ts';
import { random } from './seed.ts';

const TIMEOUT_S = 3;
const REACHES_MS = 10_000;
const MOST = 5;

const { testLab } = withLab({ bus: 'redis', gateways: 1 });

testLab('a success that waits in front of the ledger past its finish-by time counts', async (lab) => {
  const redis = new Redis(lab.deployment.redis.url);
  try {
    const devices = await lab.fleet(1 + random.below(MOST), { work: workFor(1_000, 1_500) });
    const { id } = await lab.operator.send('task.start', devices, { timeout: TIMEOUT_S });
    for (const device of devices) await lab.operator.reaches(id, device, 'running');
    for (const command of holdReceipts()) await redis.call(...command);
    await waitFor(() => devices.every((device) => device.completed(id) === 1), { what: 'the work' });
    // Until long after the time limit; meanwhile the ledger must not say anything.
    await new Promise((resolve) => setTimeout(resolve, (TIMEOUT_S + 2) * 1_000));
    for (const command of allowReceipts()) await redis.call(...command);
    for (const device of devices) {
      const { state } = await lab.operator.reaches(id, device, ['succeeded', 'timed-out'], REACHES_MS);
      assert.is(state, 'succeeded');
    }
  } finally {
    redis.disconnect();
  }
});

test.run();
