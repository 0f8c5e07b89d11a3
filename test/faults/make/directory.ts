/** What can happen to the directory in Redis: wiped while it is written, or taken for somebody else's. */
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Program } from '../../services/processes.ts';
import type { Fault, Times } from '../fault.ts';
import { toldRedis } from './services.ts';

export function redisFlushedAgain(times: number, everyMs: number): Fault {
  return {
    name: `Redis emptied ${times} times, ${everyMs} ms apart`,
    to: 'redis',
    async begin(world) {
      for (let n = 0; n < times; n++) {
        if (n > 0) await pause(everyMs);
        await toldRedis(world, ['flushall']);
      }
    },
    holdMs: 0,
    keepsSockets: true,
  };
}

const SLOW_MS = 100;
const LOOK_MS = 3;
const APPEARS_MS = 30_000;

/**
 * Wiped as soon as the server has begun to write it again, so that what it goes on with is the rest of a
 * directory.
 */
export function redisFlushedWhileWritten(times: number): Fault {
  return {
    name: `Redis emptied, and ${times} times while the directory is written`,
    to: 'redis',
    async begin(world) {
      const link = world.deployment.link('admin1-redis');
      const redis = new Redis(world.deployment.redis.url);
      // Slow enough for a wipe to come between two writes.
      link.slow(SLOW_MS);
      try {
        for (let n = 0; n <= times; n++) {
          await redis.flushall();
          if (n < times) await appeared(redis);
        }
      } finally {
        link.heal();
        redis.disconnect();
      }
    },
    holdMs: 0,
    keepsSockets: true,
  };
}

async function appeared(redis: Redis): Promise<void> {
  const deadline = performance.now() + APPEARS_MS;
  while ((await redis.keys('*directory*')).length === 0) {
    if (performance.now() > deadline) throw new Error('nobody wrote the directory again');
    await pause(LOOK_MS);
  }
}

/** Whatever it does, devices must not be told that they do not exist. */
export function foreignServer(times: Times): Fault {
  let foreign: Program | undefined;
  return {
    name: 'an administration server of another installation on the same Redis',
    to: 'redis',
    async begin(world) {
      foreign = await world.deployment.launchForeign();
    },
    async end() {
      await foreign?.stop();
    },
    holdMs: times.slow,
    keepsSockets: true,
  };
}
