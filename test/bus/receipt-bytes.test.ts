import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Bus, Receipt } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { startRedis } from '../services/redis.ts';
import { waitFor } from '../wait.ts';

const BYTES = 100_000;
const MAX_BYTES = 4 * BYTES + 10_000;

function long(command: string): Receipt[] {
  const authenticated = { body: new Uint8Array(BYTES), mac: new Uint8Array(32), worker: 'gw1/0' };
  return [{ kind: 'result', device: 'd1', command, ...authenticated, at: 1_763_769_600_123 }];
}

async function holds(bus: Bus): Promise<void> {
  const append = (n: number) => bus.receipts.append(long(`c${n}`), BYTES);
  const answers = [];
  for (let n = 0; n < 6; n++) answers.push(await append(n));
  assert.equal(answers, ['appended', 'appended', 'appended', 'appended', 'full', 'full']);
  const applied: Receipt[] = [];
  const stop = await bus.receipts.consume('one', async (batch) => {
    applied.push(...batch);
  });
  await waitFor(async () => (await bus.receipts.backlog()) === 0, { what: 'an empty backlog' });
  await stop();
  assert.is(applied.length, 4);
  // What was dropped is not counted any more, again and again.
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 4; n++) assert.is(await append(n), 'appended');
    const end = await bus.receipts.consume('two', async () => {});
    await waitFor(async () => (await bus.receipts.backlog()) === 0, { what: 'an empty backlog' });
    await end();
  }
}

test('in memory, receipts that wait are bounded in bytes', async () => {
  const bus = new MemoryBus({ receiptsMaxBytes: MAX_BYTES });
  await bus.start();
  await holds(bus);
  await bus.stop();
});

test('in Redis, receipts that wait are bounded in bytes', async () => {
  const redis = await startRedis();
  const bus = new RedisBus({ url: redis.url, receiptsMaxBytes: MAX_BYTES });
  try {
    await bus.start();
    await holds(bus);
  } finally {
    await bus.stop();
    await redis.stop();
  }
});

test.run();
