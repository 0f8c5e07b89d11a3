import { pino } from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { openBus } from '../../bus/open-bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { busContract } from './contract.ts';

test('without the URL of a Redis, the bus is the one in this process', () => {
  const log = pino({ level: 'silent' });
  assert.instance(openBus({ log }), MemoryBus);
  assert.instance(openBus({ log, redis: { url: 'redis://127.0.0.1:1' } }), RedisBus);
});

busContract({
  async fresh() {
    const bus = new MemoryBus();
    await bus.start();
    return bus;
  },
  unstarted: () => new MemoryBus(),
  close: async () => {},
});

test.run();
