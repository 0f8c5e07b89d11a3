/** What only Redis can do to the bus: lose its data, go away, cut connections, hold what nobody can read. */
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Bus, BusUnavailable, DirectoryIncomplete, RECEIPTS_MAX_BYTES } from '../../bus/bus.ts';
import { encode } from '../../bus/encoding.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { RedisSettingsError } from '../../bus/redis/settings.ts';
import { startRedis } from '../services/redis.ts';
import { freePort, waitFor } from '../wait.ts';
import { claim, writeDirectory } from '../write-directory.ts';
import { rejectsWith } from './expect.ts';
import { ack, acked, delivery, device, gateway, identity, LONG_MS, load, numbersOf } from './samples.ts';

const server = await startRedis();
let count = 0;

/** Registers `title`; `body` gets a started bus of its own prefix and a plain connection beside it. */
function fault(title: string, body: (bus: Bus, redis: Redis, prefix: string) => Promise<void>): void {
  test(title, async () => {
    count += 1;
    const prefix = `f${count}`;
    const bus = new RedisBus({ url: server.url, prefix });
    await bus.start();
    const redis = new Redis(server.url);
    redis.on('error', () => {
      // It goes away in these tests; what is asked of it then rejects by itself.
    });
    try {
      await body(bus, redis, prefix);
    } finally {
      await bus.stop();
      redis.disconnect();
    }
  });
}

fault('what was appended last is appended again when Redis was emptied', async (bus, redis) => {
  const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
  await bus.receipts.append([ack(1)]);
  await redis.flushall();
  await bus.receipts.append([ack(2)]);
  assert.is(await bus.leases.extend(incarnation, load, LONG_MS), 'lost');
  // Before anything that the worker does with its next lease.
  const next = await bus.leases.acquire(identity, load, LONG_MS);
  await bus.leases.heard(next, 5);
  assert.is(await bus.receipts.backlog(), 3);
  const applied = await collect(bus);
  await waitFor(() => applied.length >= 3);
  assert.equal(applied, [2, 1, 2]);
});

fault(
  'what finds no room is appended again once there is some; until then nobody says it is there',
  async (bus, redis, prefix) => {
    const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
    await bus.receipts.append([ack(1)]);
    await redis.flushall();
    const other = new RedisBus({ url: server.url, prefix });
    await other.start();
    try {
      // As if it were as large as may wait: there is no room for more.
      await other.receipts.append([ack(2)]);
      await redis.set(`${prefix}:{receipts}:bytes`, RECEIPTS_MAX_BYTES);
      assert.is(await bus.leases.extend(incarnation, load, LONG_MS), 'lost');
      const next = await bus.leases.acquire(identity, load, LONG_MS);
      const upTo = async () => (await other.leases.list()).find((l) => l.incarnation === next)?.heardUpTo;
      await bus.leases.heard(next, 5);
      assert.is(await upTo(), 0);
      assert.is(await bus.receipts.backlog(), 1);
      const applied = await collect(other);
      await waitFor(() => applied.includes(1), { what: 'the receipt from before' });
      await waitFor(async () => {
        await bus.leases.heard(next, 6);
        return (await upTo()) === 6;
      });
    } finally {
      await other.stop();
    }
  },
);

fault('a Redis emptied in the middle: the stream of receipts is another one', async (bus, redis) => {
  const { stream } = await bus.receipts.progress();
  await bus.receipts.append([ack(1)]);
  assert.is((await bus.receipts.progress()).stream, stream);
  await redis.flushall();
  const emptied = await bus.receipts.progress();
  assert.ok(emptied.stream !== stream && emptied.stream !== '');
  await bus.receipts.append([ack(2)]);
  assert.is((await bus.receipts.progress()).stream, emptied.stream);
});

async function collect(bus: Bus): Promise<number[]> {
  const applied: number[] = [];
  await bus.receipts.consume(
    'one',
    async (batch) => {
      applied.push(...acked([batch]));
    },
    { redeliverAfterMs: 200 },
  );
  return applied;
}

fault('a Redis emptied in the middle: lease lost, outbox lost, directory incomplete', async (bus, redis) => {
  const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
  await bus.outboxes.append(incarnation, [delivery(1)]);
  const { position } = await bus.outboxes.read(incarnation, null, 10);
  await writeDirectory(bus, [device('d1')]);
  await redis.flushall();
  assert.is((await bus.outboxes.read(incarnation, position, 10)).lost, true);
  assert.is(await bus.outboxes.append(incarnation, [delivery(2)]), 'gone');
  assert.is(await bus.leases.extend(incarnation, load, LONG_MS), 'lost');
  assert.equal(await bus.leases.list(), []);
  assert.is((await bus.directory.look()).generation, null);
  await rejectsWith(bus.directory.devices(['d1']), DirectoryIncomplete);
  assert.is(bus.status().available, true);
});

fault('a Redis emptied in the middle: receipts are consumed again without help', async (bus, redis) => {
  const applied = await collect(bus);
  await bus.receipts.append([ack(1)]);
  await waitFor(() => applied.length === 1, { what: 'the first receipt' });
  await redis.flushall();
  await bus.receipts.append([ack(2)]);
  await waitFor(() => applied.length === 2, { what: 'the receipt after the loss' });
  await waitFor(async () => (await bus.receipts.backlog()) === 0, { what: 'an empty backlog' });
});

fault('a lost part of the directory is not taken for unknown devices', async (bus, redis, prefix) => {
  await writeDirectory(bus, [device('d1'), device('d2')]);
  assert.is(await redis.del(`${prefix}:directory`), 1);
  assert.is((await bus.directory.look()).generation, null);
  await rejectsWith(bus.directory.devices(['d1']), DirectoryIncomplete);
});

fault('an outbox that was set back below the position is lost', async (bus, redis, prefix) => {
  const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
  await bus.outboxes.append(incarnation, [delivery(1)]);
  const { position } = await bus.outboxes.read(incarnation, null, 10);
  await redis.del(`${prefix}:{${incarnation}}:outbox`);
  await bus.outboxes.append(incarnation, [delivery(2)]);
  // As a clock that is behind on the new primary would number it.
  const key = `${prefix}:{${incarnation}}:outbox`;
  const fields = (await redis.xrangeBuffer(key, '-', '+'))[0]?.[1] ?? [];
  await redis.del(key);
  await redis.xadd(key, '1-1', ...fields);
  const read = await bus.outboxes.read(incarnation, position, 10);
  assert.is(read.lost, true);
  assert.equal(numbersOf(read.entries), [2]);
  assert.is((await bus.outboxes.read(incarnation, read.position, 10)).lost, false);
});

fault('an outbox ends with its lease and leaves nothing behind', async (bus, redis, prefix) => {
  const incarnation = await bus.leases.acquire(identity, load, 300);
  assert.is(await bus.outboxes.append(incarnation, [delivery(1)]), 'appended');
  await waitFor(async () => (await redis.keys(`${prefix}:{*`)).length === 0, { what: 'its keys to expire' });
  assert.equal(await bus.leases.list(), []);
  assert.is(await redis.zcard(`${prefix}:leases`), 0);
});

fault('a cut subscription is renewed, and every hint is given once more', async (bus, redis) => {
  const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
  let hints = 0;
  await bus.outboxes.onHint(incarnation, () => {
    hints += 1;
  });
  await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await waitFor(() => hints === 1, { what: 'the hint to catch up' });
  await bus.outboxes.append(incarnation, [delivery(1)]);
  await waitFor(() => hints === 2, { what: 'the hint of the append' });
});

fault(
  'all connections cut at once: the bus and its consumers come back by themselves',
  async (bus, redis) => {
    const applied = await collect(bus);
    await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await waitFor(async () => (await bus.receipts.append([ack(1)])) === 'appended', {
      what: 'the connection',
    });
    await waitFor(() => applied.includes(1), { what: 'the receipt' });
    await waitFor(() => bus.status().available, { what: 'the status' });
  },
);

fault(
  'Redis killed: BusUnavailable at once, truthful status, hints and receipts work afterwards',
  async (bus) => {
    const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
    let hints = 0;
    await bus.outboxes.onHint(incarnation, () => {
      hints += 1;
    });
    const applied = await collect(bus);
    await server.kill();
    await waitFor(() => !bus.status().available, { what: 'the status to say so' });
    const { since, reason } = bus.status();
    assert.ok(since <= Date.now() && since > Date.now() - 10_000);
    assert.type(reason, 'string');
    const started = performance.now();
    await rejectsWith(bus.outboxes.append(incarnation, [delivery(1)]), BusUnavailable);
    await rejectsWith(bus.receipts.append([ack(1)]), BusUnavailable);
    await rejectsWith(bus.presence.claim(incarnation, [{ device: 'd1' }]), BusUnavailable);
    await rejectsWith(bus.leases.list(), BusUnavailable);
    assert.ok(performance.now() - started < 500, 'without waiting');

    await server.restart({ empty: true });
    await waitFor(() => bus.status().available, { what: 'the status' });
    await waitFor(() => hints > 0, { what: 'the hint to catch up' });
    assert.is(await bus.leases.extend(incarnation, load, LONG_MS), 'lost');
    const next = await bus.leases.acquire(identity, load, LONG_MS);
    let nextHints = 0;
    await bus.outboxes.onHint(next, () => {
      nextHints += 1;
    });
    await bus.outboxes.append(next, [delivery(2)]);
    await waitFor(() => nextHints > 0, { what: 'the hint' });
    await bus.receipts.append([ack(2)]);
    await waitFor(() => applied.includes(2), { what: 'the receipt' });
  },
);

fault(
  'Redis restarted with its data: nothing is missing, and as the last moments might be, readers are told',
  async (bus) => {
    const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
    await bus.outboxes.append(incarnation, [delivery(1), delivery(2)]);
    const { position } = await bus.outboxes.read(incarnation, null, 1);
    await writeDirectory(bus, [device('d1')]);
    await bus.receipts.append([ack(1)]);
    await server.restart();
    await waitFor(() => bus.status().available, { what: 'the status' });
    assert.is(bus.counts().historyChanges, 1);
    const read = await bus.outboxes.read(incarnation, position, 10);
    assert.is(read.lost, true);
    assert.equal(numbersOf(read.entries), [1, 2], 'from the start');
    assert.is((await bus.outboxes.read(incarnation, read.position, 10)).lost, false);
    assert.is(await bus.leases.extend(incarnation, load, LONG_MS), 'lost');
    assert.is(await bus.outboxes.append(incarnation, [delivery(3)]), 'gone');

    assert.equal((await bus.directory.devices(['d1']))[0]?.id, 'd1');
    await rejectsWith(bus.directory.devices(['d2']), DirectoryIncomplete);
    assert.is((await bus.directory.look()).generation, null);
    const generation = await writeDirectory(bus, [device('d1')]);
    assert.is((await bus.directory.look()).generation, generation);
    assert.equal(await bus.directory.devices(['d2']), [null]);

    const applied = await collect(bus);
    await waitFor(() => applied.includes(1), { what: 'the receipt' });
  },
);

fault('a Redis that hangs: commands end as BusUnavailable, and work again once it goes on', async (bus) => {
  await server.kill('SIGSTOP');
  try {
    await rejectsWith(bus.leases.list(), BusUnavailable);
  } finally {
    await server.kill('SIGCONT');
  }
  await waitFor(async () => (await bus.leases.list()).length === 0, { what: 'an answer' });
  await waitFor(() => bus.status().available, { what: 'the status' });
});

fault(
  'a full Redis is unavailable with its reason, and available again once there is room',
  async (bus, redis) => {
    await redis.config('SET', 'maxmemory', '1');
    try {
      await rejectsWith(bus.receipts.append([ack(1)]), BusUnavailable);
      await waitFor(() => !bus.status().available, { what: 'the status' });
      assert.match(bus.status().reason ?? '', /OOM/);
    } finally {
      await redis.config('SET', 'maxmemory', '0');
    }
    await waitFor(() => bus.status().available, { what: 'the status' });
    assert.is(await bus.receipts.append([ack(1)]), 'appended');
  },
);

fault('a replica refuses writes: that is BusUnavailable, not a fault of the caller', async (bus, redis) => {
  const port = await freePort();
  await redis.replicaof('127.0.0.1', String(port));
  try {
    await rejectsWith(bus.leases.acquire(identity, load, LONG_MS), BusUnavailable);
    await waitFor(() => !bus.status().available, { what: 'the status' });
  } finally {
    await redis.replicaof('NO', 'ONE');
  }
  await waitFor(() => bus.status().available, { what: 'the status' });
  assert.type(await bus.leases.acquire(identity, load, LONG_MS), 'string');
});

fault('a batch that cannot be decoded is moved aside and holds nothing up', async (bus, redis, prefix) => {
  await bus.receipts.append([ack(1)]);
  await redis.xadd(`${prefix}:{receipts}`, '*', 'b', Buffer.from([0xc1, 0xc1]));
  await redis.xadd(`${prefix}:{receipts}`, '*', 'something', 'else');
  await bus.receipts.append([ack(2)]);
  const applied = await collect(bus);
  await waitFor(async () => (await bus.receipts.backlog()) === 0, { what: 'an empty backlog' });
  assert.equal(applied, [1, 2]);
  const dead = await redis.xrangeBuffer(`${prefix}:{receipts}:dead`, '-', '+');
  assert.is(dead.length, 2);
  assert.equal(dead[0]?.[1]?.at(-1), Buffer.from([0xc1, 0xc1]));
});

fault(
  'a consumer that ended in good order is forgotten, and what it had not begun is free at once',
  async (bus, redis, prefix) => {
    for (const number of [1, 2, 3]) await bus.receipts.append([ack(number)]);
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first: number[] = [];
    const end = await bus.receipts.consume(
      'leaving',
      async (batch) => {
        first.push(...acked([batch]));
        await held;
      },
      { maxBatch: 1, redeliverAfterMs: LONG_MS },
    );
    await waitFor(() => first.length === 1, { what: 'the first batch' });
    const ending = end();
    release();
    await ending;
    assert.equal(first, [1]);
    const rest: number[] = [];
    await bus.receipts.consume(
      'staying',
      async (batch) => {
        rest.push(...acked([batch]));
      },
      { redeliverAfterMs: LONG_MS },
    );
    await waitFor(() => rest.length === 2, { what: 'the rest' });
    assert.equal(rest, [2, 3]);
    const consumers = (await redis.xinfo('CONSUMERS', `${prefix}:{receipts}`, 'ledger')) as string[][];
    assert.not.ok(consumers.some((consumer) => consumer.includes('leaving')));
  },
);

fault('scripts that Redis forgot are brought again', async (bus, redis) => {
  await redis.script('FLUSH');
  const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
  assert.is(await bus.outboxes.append(incarnation, [delivery(1)]), 'appended');
});

fault(
  'receipts appended right before Redis lost everything are appended again, however long it was away',
  async (bus) => {
    assert.is(await bus.receipts.append([ack(1)]), 'appended');
    await server.kill();
    await waitFor(() => !bus.status().available, { what: 'the status to say so' });
    // Longer than receipts are kept while others follow them.
    await pause(6_000);
    await server.restart({ empty: true });
    await waitFor(() => bus.status().available, { what: 'the bus to come back' });
    const applied = await collect(bus);
    await waitFor(() => applied.includes(1), { what: 'the receipt that Redis lost' });
  },
);

test('a password and a database in the URL are used', async () => {
  const redis = new Redis(server.url);
  await redis.config('SET', 'requirepass', 'secret');
  const url = new URL(server.url);
  try {
    url.pathname = '/3';
    url.password = 'wrong';
    const refused = new RedisBus({ url: url.href });
    await rejectsWith(refused.start(), RedisSettingsError);
    url.password = 'secret';
    const bus = new RedisBus({ url: url.href, prefix: 'db3' });
    await bus.start();
    const generation = await writeDirectory(bus);
    await bus.stop();
    await redis.auth('secret');
    await redis.select(3);
    assert.match((await redis.hget('db3:directory', ' mark')) ?? '', generation);
  } finally {
    await redis.config('SET', 'requirepass', '');
    redis.disconnect();
  }
});

fault('a bus that is stopped while it starts does not start', async (_bus, _redis, prefix) => {
  const bus = new RedisBus({ url: server.url, prefix });
  let stopped: Promise<void> | undefined;
  // The last thing that a start waits for is the time.
  bus.clock.measured = () => {
    stopped ??= bus.stop();
  };
  await rejectsWith(bus.start(), BusUnavailable);
  assert.ok(stopped);
  await stopped;
});

fault(
  'a lease without an installation is listed, one of another installation is not',
  async (_, redis, prefix) => {
    const bus = new RedisBus({ url: server.url, prefix, installation: { id: 'one', epoch: 1 } });
    await bus.start();
    try {
      const own = await bus.leases.acquire(identity, load, LONG_MS);
      const earlier = await bus.leases.acquire(identity, load, LONG_MS);
      await redis.hset(`${prefix}:{${earlier}}:lease`, 'identity', encode(identity));
      const foreign = await bus.leases.acquire(identity, load, LONG_MS);
      await redis.hset(
        `${prefix}:{${foreign}}:lease`,
        'identity',
        encode({ ...identity, installation: 'two' }),
      );
      const listed = (await bus.leases.list()).map(({ incarnation }) => incarnation);
      assert.equal(listed.sort(), [own, earlier].sort());
    } finally {
      await bus.stop();
    }
  },
);

fault('stop ends in time while Redis hangs', async (bus) => {
  await collect(bus);
  await server.kill('SIGSTOP');
  try {
    const started = performance.now();
    await bus.stop();
    assert.ok(performance.now() - started < 9_000);
  } finally {
    await server.kill('SIGCONT');
  }
});

fault('an error that a caller may log does not carry what was sent', async (bus, redis, prefix) => {
  await claim(bus);
  await redis.set(`${prefix}:gateways`, 'of another type');
  let error: unknown;
  await bus.directory.putGateways([gateway('gw1')]).catch((caught: unknown) => {
    error = caught;
  });
  assert.ok(error instanceof Error && !(error instanceof BusUnavailable));
  assert.match(error.message, /WRONGTYPE/);
  assert.not.match(JSON.stringify(error), 'gw1');
});

test('without a Redis, start rejects with BusUnavailable and leaves nothing open', async () => {
  const bus = new RedisBus({ url: `redis://127.0.0.1:${await freePort()}`, startTimeoutMs: 500 });
  await rejectsWith(bus.start(), BusUnavailable);
  assert.is(bus.status().available, false);
});

test.after(() => server.stop());

test.run();
