/** Redis, PostgreSQL and the disk, as they fail. */
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { RedisServer } from '../../services/redis.ts';
import { waitFor } from '../../wait.ts';
import type { Fault, Times } from '../fault.ts';
import { signalTree } from '../process-tree.ts';
import type { World } from '../world.ts';
import { allowReceipts, holdReceipts } from './held-receipts.ts';

export async function toldRedis(world: World, ...commands: string[][]): Promise<void> {
  const redis = new Redis(world.deployment.redis.url, { maxRetriesPerRequest: 1 });
  try {
    for (const [command = '', ...args] of commands) await redis.call(command, ...args);
  } finally {
    redis.disconnect();
  }
}

export function redisRestarted(times: Times, { empty = false } = {}): Fault {
  return {
    name: `Redis restarted ${empty ? 'empty' : 'with its data'}`,
    to: 'redis',
    begin: (world) => world.deployment.redis.kill(),
    end: (world) => world.deployment.redis.restart({ empty }),
    holdMs: times.dead,
    keepsSockets: true,
  };
}

/** Emptied under everybody's hands, while every connection stays. */
export function redisFlushed(): Fault {
  return {
    name: 'Redis emptied',
    to: 'redis',
    begin: (world) => toldRedis(world, ['flushall']),
    holdMs: 0,
    keepsSockets: true,
  };
}

export function redisStopped(times: Times): Fault {
  return {
    name: 'Redis stopped',
    to: 'redis',
    begin: (world) => world.deployment.redis.kill('SIGSTOP'),
    end: (world) => world.deployment.redis.kill('SIGCONT'),
    holdMs: times.away,
    darkens: { from: 'everybody', dependency: 'bus' },
    keepsSockets: true,
  };
}

export function subscriptionsKilled(): Fault {
  return {
    name: 'pub/sub connections killed',
    to: 'redis',
    begin: (world) => toldRedis(world, ['client', 'kill', 'type', 'pubsub']),
    holdMs: 0,
    survivable: true,
    keepsSockets: true,
  };
}

/** What is announced reaches nobody, although everything else works: hints are only hints. */
export function hintsLost(times: Times): Fault {
  const allow = (sign: '+' | '-') => ['acl', 'setuser', 'default', `${sign}subscribe`, `${sign}ssubscribe`];
  return {
    name: 'hints lost',
    to: 'redis',
    begin: (world) => toldRedis(world, allow('-'), ['client', 'kill', 'type', 'pubsub']),
    end: (world) => toldRedis(world, allow('+')),
    holdMs: times.slow,
    survivable: true,
    keepsSockets: true,
  };
}

/** Longer than any time limit of the commands that are given meanwhile, and than a resend. */
const RECEIPTS_HELD_MS = 40_000;

/**
 * Everything works but for receipts, which neither gateways can write nor servers read: they wait where they
 * are.
 */
export function receiptsHeld(): Fault {
  return {
    name: 'receipts held back',
    to: 'redis',
    begin: (world) => toldRedis(world, ...holdReceipts()),
    end: (world) => toldRedis(world, ...allowReceipts()),
    holdMs: RECEIPTS_HELD_MS,
    keepsSockets: true,
  };
}

/** Redis reads, and refuses to write. */
export function redisFull(times: Times): Fault {
  return {
    name: 'the memory limit of Redis reached',
    to: 'redis',
    begin: (world) =>
      toldRedis(
        world,
        ['config', 'set', 'maxmemory-policy', 'noeviction'],
        ['config', 'set', 'maxmemory', '1'],
      ),
    end: (world) => toldRedis(world, ['config', 'set', 'maxmemory', '0']),
    holdMs: times.stopped,
    keepsSockets: true,
  };
}

/** The primary dies with what its replica never heard of, and Sentinel makes that replica the primary. */
export function failoverToLagging(times: Times): Fault {
  let old: RedisServer | undefined;
  return {
    name: 'Sentinel fails over to a replica that lags',
    to: 'redis',
    async begin({ deployment: { sentinel } }) {
      old = await sentinel.primary();
      const primary = sentinel.connect(old);
      try {
        const inStep = async () => (await primary.info('replication')).includes('state=online');
        await waitFor(inStep, { timeoutMs: 20_000, intervalMs: 100, what: 'a replica in step' });
        await primary.call('ACL', 'SETUSER', 'default', '-psync', '-sync');
        await primary.call('CLIENT', 'KILL', 'TYPE', 'replica');
      } finally {
        primary.disconnect();
      }
      await pause(times.lag);
      await old.kill();
      await sentinel.failedOver(old);
    },
    end: () => old?.restart(),
    holdMs: times.dead,
    survivable: true,
    keepsSockets: true,
  };
}

/** In good order: what the old primary had, the new one has. */
export function failover(): Fault {
  return {
    name: 'Sentinel fails over',
    to: 'redis',
    begin: async ({ deployment: { sentinel } }) => void (await sentinel.failOver()),
    holdMs: 0,
    survivable: true,
    keepsSockets: true,
  };
}

/** Every command to the bus in turn is in another server's hands. */
export function clusterPrimaryKilled(times: Times): Fault {
  let old: RedisServer | undefined;
  return {
    name: 'a primary of the cluster killed',
    to: 'redis',
    async begin({ deployment: { cluster } }, random) {
      old = random.one(await cluster.primaries());
      await old.kill();
      await cluster.failedOver(old);
    },
    end: () => old?.restart(),
    holdMs: times.dead,
    survivable: true,
    keepsSockets: true,
  };
}

/** One after the other, each when the one before is over. */
export function again(count: number, fault: Fault, betweenMs: number): Fault {
  return {
    ...fault,
    name: `${fault.name}, ${count} times`,
    async begin(world, random) {
      for (let n = 1; n < count; n++) {
        await fault.begin(world, random);
        await pause(fault.holdMs);
        await fault.end?.(world);
        await pause(random.next() * betweenMs);
      }
      await fault.begin(world, random);
    },
  };
}

export function postgresRestarted(times: Times): Fault {
  return {
    name: 'PostgreSQL restarted',
    to: 'postgres',
    begin: (world) => world.deployment.postgres.kill(),
    end: (world) => world.deployment.postgres.restart(),
    holdMs: times.dead,
    keepsSockets: true,
  };
}

export function postgresKilledAgain(times: Times): Fault {
  return { ...again(5, postgresRestarted(times), 4_000), traffic: 'short' };
}

/** With the processes of its sessions: nothing answers, nothing is refused. */
export function postgresStopped(times: Times): Fault {
  return {
    name: 'PostgreSQL stopped',
    to: 'postgres',
    begin: (world) => signalTree(world.deployment.postgres.pid, 'SIGSTOP'),
    end: (world) => signalTree(world.deployment.postgres.pid, 'SIGCONT'),
    holdMs: times.stopped,
    darkens: { from: 'admins', dependency: 'store' },
    keepsSockets: true,
  };
}

/** Its server may end of it; whoever keeps programs running starts it again. */
export function postgresDiskFull(times: Times): Fault {
  return {
    name: 'disk full under PostgreSQL',
    to: 'disk',
    begin: (world) => world.deployment.disk.fill(),
    async end({ deployment }) {
      await deployment.disk.free();
      if (!deployment.postgres.running) await deployment.postgres.restart();
    },
    holdMs: times.slow,
    keepsSockets: true,
  };
}

export function diskFull(times: Times): Fault {
  return {
    name: 'disk full under SQLite',
    to: 'disk',
    begin: (world) => world.deployment.disk.fill(),
    end: (world) => world.deployment.disk.free(),
    // The log beside the database may have room for as long, so nobody has to say that it cannot write.
    holdMs: times.slow,
    keepsSockets: true,
  };
}
