import { test } from 'uvu';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { startRedis } from '../services/redis.ts';
import { busContract } from './contract.ts';
import { bothSides } from './mac-keys.ts';

const server = await startRedis();
let count = 0;

busContract({
  async fresh() {
    count += 1;
    const bus = new RedisBus({ url: server.url, prefix: `t${count}`, ...bothSides() });
    await bus.start();
    return bus;
  },
  unstarted: () => new RedisBus({ url: server.url }),
  close: () => server.stop(),
});

test.run();
