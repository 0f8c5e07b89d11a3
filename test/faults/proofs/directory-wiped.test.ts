/**
 * Half a directory, one that somebody changed, and one of somebody else: none of them may turn a device away
 * for good.
 */
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ForeignInstallation } from '../../../bus/bus.ts';
import { RedisBus } from '../../../bus/redis/redis-bus.ts';
import { rejectsWith } from '../../bus/expect.ts';
import { device, numbers } from '../../bus/samples.ts';
import { type RedisServer, startRedis } from '../../services/redis.ts';
import { claim, writeDirectory } from '../../write-directory.ts';
import { random } from './seed.ts';

const MOST = 200;

let server: RedisServer;
test.before(async () => {
  server = await startRedis();
});
test.after(() => server.stop());

async function withBus(body: (bus: RedisBus, redis: Redis) => Promise<void>): Promise<void> {
  const bus = new RedisBus({ url: server.url });
  const redis = new Redis(server.url);
  try {
    await redis.flushall();
    await bus.start();
    await claim(bus);
    await body(bus, redis);
  } finally {
    await bus.stop();
    redis.disconnect();
  }
}

const some = () => numbers(1, 2 + random.below(MOST)).map((n) => device(`d${n}`));

test('a directory that was wiped while it was written is not whole', () =>
  withBus(async (bus, redis) => {
    const devices = some();
    const half = 1 + random.below(devices.length - 1);
    const writing = await bus.directory.begin();
    assert.ok(writing);
    await writing?.put(devices.slice(0, half));
    await redis.flushall();
    await claim(bus);
    // Whichever step finds out.
    const rest = async () => {
      await writing?.put(devices.slice(half));
      await writing?.finish();
    };
    await rest().catch(() => {});
    assert.is((await bus.directory.look()).generation, null);
  }));

test('a directory of which a part is missing is not whole', () =>
  withBus(async (bus, redis) => {
    const devices = some();
    await writeDirectory(bus, devices);
    assert.ok((await bus.directory.look()).generation);
    const [key] = (await redis.keys('*directory')) as [string];
    assert.is(await redis.hdel(key, random.one(devices).id), 1);
    assert.is((await bus.directory.look()).generation, null);
  }));

test('a Redis that serves an installation is not taken by another', () =>
  withBus(async () => {
    const foreign = new RedisBus({ url: server.url });
    await foreign.start();
    try {
      const other = { id: `i-other-${random.below(1_000)}`, epoch: 1 };
      await rejectsWith(foreign.owner.claim(other), ForeignInstallation);
    } finally {
      await foreign.stop();
    }
  }));

test.run();
