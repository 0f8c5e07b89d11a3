/** What others write into Redis, and what one gateway says in the name of another, is refused and counted. */
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Bus, Delivery, Receipt } from '../../bus/bus.ts';
import { encode } from '../../bus/encoding.ts';
import { makeEntryMac } from '../../bus/redis/macs/entry-mac.ts';
import { Sequences } from '../../bus/redis/macs/sequences.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { startRedis } from '../services/redis.ts';
import { waitFor } from '../wait.ts';
import { credentialsOf, gatewayKeys, type TestGatewayKeys } from './mac-keys.ts';
import { ack, acked, delivery, identity, LONG_MS, load, numbers, numbersOf } from './samples.ts';

const server = await startRedis();
let count = 0;

interface Parties {
  /** Of an administration server. */
  admin: Bus;
  /** Of gateway gw1, and of gw2. */
  gateway: Bus;
  other: Bus;
  /** Whoever may write to Redis. */
  redis: Redis;
  prefix: string;
  keys: TestGatewayKeys;
}

function attack(title: string, body: (parties: Parties) => Promise<void>): void {
  test(title, async () => {
    count += 1;
    const common = { url: server.url, prefix: `s${count}` };
    const keys = gatewayKeys();
    const admin = new RedisBus({ ...common, gatewayKeys: keys });
    const gateway = new RedisBus({ ...common, credentials: () => credentialsOf('gw1') });
    const other = new RedisBus({ ...common, credentials: () => credentialsOf('gw2') });
    const redis = new Redis(server.url);
    try {
      for (const bus of [admin, gateway, other]) await bus.start();
      await body({ admin, gateway, other, redis, prefix: common.prefix, keys });
    } finally {
      for (const bus of [admin, gateway, other]) await bus.stop();
      redis.disconnect();
    }
  });
}

async function collect(bus: Bus): Promise<Receipt[]> {
  const applied: Receipt[] = [];
  await bus.receipts.consume('one', async (batch) => void applied.push(...batch));
  return applied;
}

/** All that there is, applied. */
async function collected(bus: Bus): Promise<Receipt[]> {
  const applied = await collect(bus);
  await waitFor(async () => (await bus.receipts.backlog()) === 0);
  return applied;
}

attack(
  'receipts that no gateway authenticated are put aside, and the others are applied',
  async (parties) => {
    const { admin, gateway, redis, prefix } = parties;
    const key = `${prefix}:{receipts}`;
    await redis.xadd(key, '*', 'b', encode([ack(1)]), 'i', '');
    await gateway.receipts.append([ack(2)]);
    const [[, fields = []] = []] = await redis.xrangeBuffer(key, '-', '+').then((all) => all.slice(1));
    const mac = fields[5] as Buffer;
    // The MAC of another batch, one that is no MAC, and a batch that was changed beside its MAC.
    await redis.xadd(key, '*', 'b', encode([ack(3)]), 'i', '', 's', mac);
    await redis.xadd(
      key,
      '*',
      'b',
      encode([ack(4)]),
      's',
      encode(['gw1', 'serial-1', 'x', 1, new Uint8Array(32)]),
    );
    await redis.xadd(key, '*', 'b', encode([ack(5)]), 's', 'nonsense');
    const applied = await collected(admin);
    assert.equal(acked([applied]), [2]);
    assert.is(applied[0]?.from, 'gw1');
    assert.is(admin.counts().refused.receipts, 4);
    assert.match(admin.status().refused?.[0] ?? '', '4 entries in Redis were refused');
    assert.is(await redis.xlen(`${key}:dead`), 4);
  },
);

attack('a gateway speaks for its own workers only', async ({ admin, gateway, other }) => {
  const at = 1;
  await other.receipts.append([
    {
      kind: 'result',
      device: 'd1',
      command: 'c1',
      body: Uint8Array.of(1),
      mac: new Uint8Array(32),
      worker: 'gw1/0',
      at,
    },
  ]);
  await other.receipts.append([{ kind: 'outbox-lost', incarnation: 'gw1~abc', at }]);
  await other.receipts.append([{ kind: 'outbox-lost', incarnation: 'gw2~abc', at }]);
  await gateway.receipts.append([{ ...ack(1), from: 'gw2' }]);
  const applied = await collected(admin);
  assert.equal(
    applied.map(({ kind, from }) => `${kind} ${from}`),
    ['outbox-lost gw2', 'ack gw1'],
  );
  assert.is(admin.counts().refused.receipts, 2);
});

attack('a revoked gateway loses lease and outbox, and raises no alarm', async (parties) => {
  const { admin, gateway, redis, prefix, keys } = parties;
  const incarnation = await gateway.leases.acquire(identity, load, LONG_MS);
  assert.is((await admin.leases.list()).length, 1);
  assert.is(await admin.outboxes.append(incarnation, [delivery(1)]), 'appended');
  keys.ends.set('gw1', 1);
  assert.equal(await admin.leases.list(), []);
  assert.is(await admin.outboxes.append(incarnation, [delivery(2)]), 'gone');
  assert.equal(await redis.keys(`${prefix}:{${incarnation}}*`), []);
  assert.is(await gateway.leases.extend(incarnation, load, LONG_MS), 'lost');
  // What it says afterwards is put aside.
  await gateway.receipts.append([ack(1)]);
  const again = await gateway.leases.acquire(identity, load, LONG_MS);
  await gateway.leases.release(again, { allHeard: true });
  assert.equal(await admin.leases.left([again]), []);
  assert.equal(await collected(admin), []);
  assert.is(await redis.xlen(`${prefix}:{receipts}:dead`), 1);
  assert.equal([admin.counts().refused.lease, admin.counts().refused.receipts], [0, 0]);
  assert.is(admin.status().refused, undefined);
});

attack('what Redis took while a certificate was good counts, however late it is read', async (parties) => {
  const { admin, gateway, redis, prefix, keys } = parties;
  await gateway.receipts.append([ack(1)]);
  const [[id = ''] = []] = await redis.xrange(`${prefix}:{receipts}`, '-', '+');
  const until = Number(id.split('-')[0]) + 1;
  keys.ends.set('gw1', until);
  await waitFor(() => admin.clock.now() > until + 1);
  assert.equal(acked([await collected(admin)]), [1]);
  assert.is(admin.counts().refused.receipts, 0);
});

attack('who empties the stream makes no batch older or newer than it is', async (parties) => {
  const { admin, gateway, redis, prefix, keys } = parties;
  const key = `${prefix}:{receipts}`;
  const applied = await collect(admin);
  await gateway.receipts.append([ack(1)]);
  await waitFor(() => applied.length === 1);
  // As if Redis had taken it while the certificate of gw2 was good.
  const batch = encode([ack(2)]);
  const { gateway: name, serial, macKey } = credentialsOf('gw2');
  const subject = { gateway: name, serial, sender: 'x', number: 1 };
  const mac = makeEntryMac(macKey, 'receipts', subject, [batch]);
  keys.ends.set('gw2', Date.now() - 1_000);
  await redis.del(key);
  await redis.xadd(key, `${Date.now() - LONG_MS}-1`, 'b', batch, 'i', '', 's', mac);
  await waitFor(async () => (await redis.xlen(`${key}:dead`)) === 1);
  // As if all that follows were taken when no certificate is good any more.
  keys.ends.set('gw1', Date.now() + LONG_MS);
  await redis.del(key);
  await redis.xadd(key, `${Date.now() + 2 * LONG_MS}-1`, 'b', encode([ack(3)]));
  await gateway.receipts.append([ack(4)]);
  await waitFor(() => applied.length === 2);
  assert.equal(acked([applied]), [1, 4]);
});

attack('a lease counts as far as its gateway wrote it', async ({ admin, gateway, other, redis, prefix }) => {
  const incarnation = await gateway.leases.acquire(identity, load, LONG_MS);
  const key = `${prefix}:{${incarnation}}:lease`;
  // A program that has nothing but the address of Redis, and a gateway in the name of another.
  const plain = new RedisBus({ url: server.url, prefix });
  await plain.start();
  await plain.leases.acquire({ ...identity, worker: 'evil/0', gateway: 'evil' }, load, LONG_MS);
  await plain.stop();
  await other.leases.acquire(identity, load, LONG_MS);
  const listed = async () => (await admin.leases.list()).map((lease) => lease.incarnation);
  assert.equal(await listed(), [incarnation]);
  assert.is(admin.counts().refused.lease, 2);
  // More room than the worker says, or another identity.
  const good = await redis.hgetallBuffer(key);
  for (const field of ['load', 'identity', 'seal']) {
    const forged =
      field === 'load' ? encode({ ...load, limit: 1_000_000 }) : encode({ ...identity, host: 'x' });
    await redis.hset(key, field, forged);
    assert.equal(await listed(), [], field);
    await redis.hset(key, good);
    assert.equal(await listed(), [incarnation]);
  }
});

attack('nobody else says up to when a worker heard, or that it left', async (parties) => {
  const { admin, gateway, redis, prefix } = parties;
  const heard = async () => (await admin.leases.list())[0]?.heardUpTo;
  const incarnation = await gateway.leases.acquire(identity, load, LONG_MS);
  const key = `${prefix}:{${incarnation}}:lease`;
  await redis.hset(key, 'heard', 9_999_999_999_999);
  assert.is(await heard(), 0);
  await gateway.leases.heard(incarnation, 5_000);
  assert.is(await heard(), 5_000);
  await redis.hset(key, 'heard', 9_999_999_999_999);
  assert.is(await heard(), 0);
  await redis.set(`${prefix}:{${incarnation}}:left`, '');
  assert.equal(await admin.leases.left([incarnation]), []);
  await gateway.leases.release(incarnation, { allHeard: true });
  assert.equal(await admin.leases.left([incarnation]), [incarnation]);
  // What another worker of the gateway left behind says nothing of this one.
  const next = await gateway.leases.acquire(identity, load, LONG_MS);
  const its = await redis.getBuffer(`${prefix}:{${incarnation}}:left`);
  await redis.set(`${prefix}:{${next}}:left`, its as Buffer);
  assert.equal(await admin.leases.left([next]), []);
});

attack('a copy of a lease that is over does not bring it back', async (parties) => {
  const { admin, gateway, redis, prefix } = parties;
  const incarnation = await gateway.leases.acquire(identity, load, LONG_MS);
  // It never ends by itself now.
  await redis.persist(`${prefix}:{${incarnation}}:lease`);
  assert.is((await admin.leases.list()).length, 1);
  const asked = performance.now();
  (admin as RedisBus).clock.measured(admin.clock.now() + 3 * LONG_MS, asked, asked);
  assert.equal(await admin.leases.list(), []);
});

const grant: Delivery = { devices: ['d1'], close: { code: 4402, reason: 'deleted' } };

attack('a worker takes deliveries from administration servers only, each once', async (parties) => {
  const { admin, gateway, other, redis, prefix } = parties;
  const incarnation = await gateway.leases.acquire(identity, load, LONG_MS);
  const theirs = await other.leases.acquire({ ...identity, gateway: 'gw2', worker: 'gw2/0' }, load, LONG_MS);
  const key = `${prefix}:{${incarnation}}:outbox`;
  const read = async (position: Parameters<Bus['outboxes']['read']>[1] = null, limit = 100) => {
    const answer = await gateway.outboxes.read(incarnation, position, limit);
    return { ...answer, numbers: numbersOf(answer.entries) };
  };
  await redis.xadd(key, '*', 'd', encode(grant));
  await admin.outboxes.append(incarnation, numbers(1, 3).map(delivery));
  await admin.outboxes.append(theirs, [delivery(7)]);
  const [own, foreign] = [
    await redis.xrangeBuffer(key, '-', '+'),
    await redis.xrangeBuffer(`${prefix}:{${theirs}}:outbox`, '-', '+'),
  ];
  // Again, in part, of another worker, and with the MAC that another one has.
  for (const entries of [own.slice(1), own.slice(2), foreign]) {
    for (const [, fields] of entries) await redis.xadd(key, '*', ...fields);
  }
  await redis.xadd(key, '*', 'd', encode(grant), 's', own.at(-1)?.[1][3] as Buffer);
  await admin.outboxes.append(incarnation, [delivery(4)]);
  const first = await read();
  assert.equal(first.numbers, [1, 2, 3, 4]);
  assert.is(gateway.counts().refused.deliveries, 1 + 3 + 2 + 1 + 1);
  assert.equal((await read()).numbers, [1, 2, 3, 4], 'the same entries once more are no replay');
  assert.equal((await read(first.position)).numbers, []);
});

attack('a gateway may ask another to end sessions that have moved, and nothing else', async (parties) => {
  const { gateway, other } = parties;
  const incarnation = await gateway.leases.acquire(identity, load, LONG_MS);
  const replaced = { code: 4205, reason: 'H-9' };
  const moved: Delivery = { devices: ['d1'], close: { ...replaced, sessions: [7] } };
  await other.outboxes.append(incarnation, [
    moved,
    { ...moved, frame: Uint8Array.of(1) },
    { devices: ['d1'], close: replaced },
    { devices: ['d1'], close: { ...replaced, sessions: [0] } },
    { devices: ['d1'], close: { code: 4404, reason: 'blocked', sessions: [7] } },
    { devices: [], tunnelEnd: { id: 't1', reason: 'x' } },
  ]);
  // Ends what might be the beginning of a group.
  await parties.admin.outboxes.append(incarnation, [delivery(1)]);
  const { entries } = await gateway.outboxes.read(incarnation, null, 100);
  assert.equal(
    entries.map((entry) => entry.delivery),
    [moved, entries[1]?.delivery],
  );
  assert.is(entries.length, 2);
  assert.is(gateway.counts().refused.deliveries, 5);
});

attack('large appends are read in parts of any size, also when a read is repeated', async (parties) => {
  const { admin, gateway } = parties;
  const incarnation = await gateway.leases.acquire(identity, load, LONG_MS);
  await admin.outboxes.append(incarnation, numbers(1, 150).map(delivery));
  for (const limit of [1, 7, 64, 100, 1_000]) {
    const seen: number[] = [];
    for (let position = null as Parameters<Bus['outboxes']['read']>[1]; ; ) {
      await gateway.outboxes.read(incarnation, position, limit);
      const part = await gateway.outboxes.read(incarnation, position, limit);
      if (part.entries.length === 0) break;
      seen.push(...numbersOf(part.entries));
      position = part.position;
    }
    assert.equal(seen, numbers(1, 150), `limit ${limit}`);
  }
});

/** An attack on a gateway with a lease whose certificate `renew` replaces. */
function renewal(
  title: string,
  body: (parties: Parties & { incarnation: string; renew: () => Promise<void> }) => Promise<void>,
): void {
  attack(title, async (parties) => {
    const { admin, prefix } = parties;
    let serial = 'serial-1';
    const gateway = new RedisBus({
      url: server.url,
      prefix,
      credentials: () => credentialsOf('gw1', serial),
    });
    await gateway.start();
    try {
      const incarnation = await gateway.leases.acquire(identity, load, LONG_MS);
      await admin.leases.list();
      const renew = async () => {
        serial = 'serial-2';
        await gateway.leases.extend(incarnation, load, LONG_MS);
      };
      await body({ ...parties, gateway, incarnation, renew });
    } finally {
      await gateway.stop();
    }
  });
}

renewal('a renewed certificate is taken up, and entries of the former one stay good', async (parties) => {
  const { admin, gateway, incarnation, renew } = parties;
  await gateway.outboxes.read(incarnation, null, 10);
  await admin.outboxes.append(incarnation, [delivery(1)]);
  assert.is((await gateway.outboxes.read(incarnation, null, 10)).entries.length, 1);
  await renew();
  await admin.outboxes.append(incarnation, [delivery(2)]);
  await admin.leases.list();
  await admin.outboxes.append(incarnation, [delivery(3)]);
  const { entries } = await gateway.outboxes.read(incarnation, null, 10);
  assert.equal(numbersOf(entries), [1, 2, 3]);
});

renewal('deliveries for the former certificate open in a worker that read none under it', async (parties) => {
  const { admin, gateway, incarnation, renew } = parties;
  await renew();
  // The server has not read the lease again.
  await admin.outboxes.append(incarnation, [delivery(1)]);
  assert.equal(numbersOf((await gateway.outboxes.read(incarnation, null, 10)).entries), [1]);
  assert.is(gateway.counts().refused.deliveries, 0);
});

attack('an invented session number does not capture a device for good', async (parties) => {
  const { gateway, redis, prefix } = parties;
  await redis.hset(`${prefix}:presence`, ' last', '9007199254740000', 'd1', 'gw9~x 9007199254740000');
  const [claim] = await gateway.presence.claim('gw1~abc', [{ device: 'd1' }]);
  assert.ok((claim?.session ?? 0) < (Date.now() + LONG_MS) * 1_000);
  assert.equal(await gateway.presence.locate(['d1']), [
    { incarnation: 'gw1~abc', session: claim?.session ?? 0 },
  ]);
});

attack('a holder that no claim wrote keeps nobody out, and changes no other claim', async (parties) => {
  const { gateway, redis, prefix } = parties;
  for (const holder of ['', 'gw9~x', 'gw9~x y', 'gw9~x -1', 'gw9~x 1 2']) {
    const [other] = await gateway.presence.claim('gw1~abc', [{ device: 'd2' }]);
    await redis.hset(`${prefix}:presence`, 'd1', holder);
    const [first, second] = await gateway.presence.claim('gw1~abc', [
      { device: 'd1', heldSession: 5 },
      { device: 'd2', heldSession: other?.session ?? 0 },
    ]);
    assert.is(first?.previous, undefined, holder);
    assert.equal(second?.previous, { incarnation: 'gw1~abc', session: other?.session ?? 0 }, holder);
    const holders = await gateway.presence.locate(['d1', 'd2']);
    assert.equal(
      holders.map((each) => each?.session),
      [first?.session, second?.session],
    );
  }
});

test('numbers count once, also when they overtake each other', () => {
  const sequences = new Sequences();
  assert.ok(sequences.take('a', 2, 'p2'));
  assert.ok(sequences.take('a', 1, 'p1'));
  assert.ok(sequences.take('a', 2, 'p2'), 'the same place again');
  assert.not(sequences.take('a', 2, 'p3'));
  assert.ok(sequences.take('b', 2, 'p4'));
  for (let number = 3; number <= 5_000; number++) assert.ok(sequences.take('a', number, `p${number}`));
  assert.not(sequences.take('a', 1, 'p1'), 'too old to know');
  assert.not(sequences.take('a', 4_999, 'elsewhere'));
});

test.after(() => server.stop());
test.run();
