/**
 * Another server takes over: what the one before had acknowledged may be gone, and nobody goes on as if it
 * were not.
 */
import type { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Bus, DirectoryIncomplete } from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import type { RedisServer } from '../services/redis.ts';
import { startClusterDeployment } from '../services/redis-cluster.ts';
import { startSentinelDeployment } from '../services/redis-sentinel.ts';
import { waitFor } from '../wait.ts';
import { claim, writeDirectory } from '../write-directory.ts';
import { rejectsWith } from './expect.ts';
import { ack, acked, delivery, device, gateway, identity, LONG_MS, load } from './samples.ts';

const PASSWORD = 'a secret';

interface Deployment {
  url: string;
  connect(server: RedisServer): Redis;
  stop(): Promise<void>;
}

async function ask<T>(
  deployment: Deployment,
  server: RedisServer,
  question: (client: Redis) => Promise<T>,
): Promise<T> {
  const client = deployment.connect(server);
  try {
    return await question(client);
  } finally {
    client.disconnect();
  }
}

/** From now on the replica learns nothing more. */
async function cutOff(deployment: Deployment, replica: RedisServer, primary: RedisServer): Promise<void> {
  await ask(deployment, replica, (client) => client.config('SET', 'masterauth', 'wrong'));
  await ask(deployment, primary, (client) => client.call('CLIENT', 'KILL', 'TYPE', 'replica'));
}

async function collect(bus: Bus): Promise<number[]> {
  const applied: number[] = [];
  await bus.receipts.consume('one', async (batch) => {
    applied.push(...acked([batch]));
  });
  return applied;
}

async function bringsHints(bus: Bus): Promise<void> {
  const incarnation = await waitFor(() => bus.leases.acquire(identity, load, LONG_MS), {
    what: 'a new lease',
  });
  let hints = 0;
  await waitFor(
    async () => {
      await bus.outboxes.onHint(incarnation, () => {
        hints += 1;
      });
      return true;
    },
    { what: 'the subscription' },
  );
  const before = hints;
  assert.is(await bus.outboxes.append(incarnation, [delivery(9)]), 'appended');
  await waitFor(() => hints > before, { what: 'the hint' });
}

async function startWithOneDelivery(bus: RedisBus) {
  await bus.start();
  await claim(bus);
  const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
  await bus.outboxes.append(incarnation, [delivery(1)]);
  const { position } = await bus.outboxes.read(incarnation, null, 10);
  return { incarnation, position };
}

test('Sentinel: every program notices what a lagging replica lacks when it takes over', async () => {
  const deployment = await startSentinelDeployment({ password: PASSWORD });
  const bus = new RedisBus({ url: deployment.url, password: PASSWORD });
  try {
    const { incarnation, position } = await startWithOneDelivery(bus);
    await writeDirectory(bus, [device('d1')]);
    await bus.presence.claim(incarnation, [{ device: 'd1' }]);
    const old = await deployment.primary();
    const [replica] = (await deployment.replicas()) as [RedisServer];
    await ask(deployment, old, (client) => client.wait(1, 5_000));
    await cutOff(deployment, replica, old);

    assert.is(await bus.outboxes.append(incarnation, [delivery(2)]), 'appended');
    assert.is(await bus.receipts.append([ack(7)]), 'appended');
    await bus.directory.putDevices([device('d2')]);
    await old.kill();
    await waitFor(() => !bus.status().available, { what: 'the status to say so' });
    await deployment.failedOver(old);
    await waitFor(() => bus.status().available, { timeoutMs: 20_000, what: 'the status' });

    const read = await bus.outboxes.read(incarnation, position, 10);
    assert.is(read.lost, true, 'the second delivery is not there, and nothing in the outbox shows it');
    assert.is(await bus.leases.extend(incarnation, load, LONG_MS), 'lost', 'devices must be claimed again');
    assert.is(await bus.outboxes.append(incarnation, [delivery(3)]), 'gone');
    assert.equal((await bus.directory.devices(['d1']))[0]?.id, 'd1');
    await rejectsWith(bus.directory.devices(['d2']), DirectoryIncomplete);
    assert.is((await bus.directory.look()).generation, null, 'to be written again');
    const applied = await collect(bus);
    await waitFor(() => applied.includes(7), { what: 'the receipt that the replica never had' });
    await bringsHints(bus);

    // The old primary comes back believing that it is one, until the sentinels tell it.
    await old.restart();
    await waitFor(() => ask(deployment, old, (client) => client.role()).then(([role]) => role === 'slave'), {
      timeoutMs: 20_000,
      what: 'the old primary to be a replica',
    });
    await waitFor(() => bus.status().available, { what: 'the status' });
    await bringsHints(bus);
  } finally {
    await bus.stop();
    await deployment.stop();
  }
});

test('Sentinel: programs leave an old primary that is cut off within seconds', async () => {
  const deployment = await startSentinelDeployment({ password: PASSWORD });
  const url = deployment.url.replace('://', '://pushpoint:own@');
  for (const server of deployment.servers) {
    await ask(deployment, server, (client) =>
      client.call('ACL', 'SETUSER', 'pushpoint', 'on', '>own', '~*', '&*', '+@all'),
    );
  }
  const bus = new RedisBus({ url });
  try {
    await bus.start();
    const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
    const old = await deployment.primary();
    // Sentinels and replica are the default user: from now on nobody but us gets in.
    await ask(deployment, old, async (client) => {
      await client.call('ACL', 'SETUSER', 'pushpoint-test', 'on', 'nopass', '~*', '&*', '+@all');
      await client.call('AUTH', 'pushpoint-test', 'any');
      await client.call('ACL', 'SETUSER', 'default', 'off');
      await client.call('CLIENT', 'KILL', 'USER', 'default');
    });
    await waitFor(async () => (await deployment.primary()) !== old, {
      timeoutMs: 20_000,
      what: 'the failover',
    });
    await waitFor(() => bus.counts().historyChanges > 0, { timeoutMs: 5_000, what: 'the bus to leave' });
    await waitFor(() => bus.status().available, { what: 'the status' });
    const next = await deployment.primary();
    for (const { server } of bus.status().parts ?? []) assert.is(server, `127.0.0.1:${next.port}`);
    assert.is(await bus.leases.extend(incarnation, load, LONG_MS), 'lost');
    const generation = await writeDirectory(bus);
    const mark = await ask(deployment, next, (client) => client.hget('pp:directory', ' mark'));
    assert.is(mark?.split(' ')[0], generation);
    await bringsHints(bus);
  } finally {
    await bus.stop();
    await deployment.stop();
  }
});

test('Cluster: failovers are noticed wherever they happen, and slots may move under it', async () => {
  const deployment = await startClusterDeployment({ password: PASSWORD });
  const bus = new RedisBus({ url: deployment.url, password: PASSWORD });
  try {
    const { incarnation, position } = await startWithOneDelivery(bus);
    const old = await deployment.primaryOf(`{${incarnation}}`);
    const [replica] = (await deployment.replicasOf(old)) as [RedisServer];
    await ask(deployment, old, (client) => client.wait(1, 5_000));
    await cutOff(deployment, replica, old);
    assert.is(await bus.outboxes.append(incarnation, [delivery(2)]), 'appended');
    await old.kill();
    await deployment.failedOver(old);
    await waitFor(() => bus.status().available, { timeoutMs: 20_000, what: 'the status' });
    assert.is((await bus.outboxes.read(incarnation, position, 10)).lost, true);
    assert.is(await bus.leases.extend(incarnation, load, LONG_MS), 'lost');
    await bringsHints(bus);

    await old.restart();
    await ask(deployment, replica, (client) => client.config('SET', 'masterauth', PASSWORD));
    await waitFor(async () => (await deployment.replicasOf(replica)).includes(old), {
      what: 'it to be a replica',
    });
    // Whatever is kept elsewhere, devices' presence is kept everywhere.
    const second = await bus.leases.acquire(identity, load, LONG_MS);
    const elsewhere = (await deployment.primaries()).filter((server) => server !== replica);
    const holder = await deployment.primaryOf(`{${second}}`);
    const another = elsewhere.find((server) => server !== holder) as RedisServer;
    await deployment.failOver(another);
    await waitFor(
      async () => (await bus.leases.extend(second, load, LONG_MS).catch(() => 'held')) === 'lost',
      { what: 'the lease to be lost' },
    );
    await waitFor(() => bus.status().available, { what: 'the status' });
    await bringsHints(bus);

    await moveSlot(deployment, 'pp:gateways', async () => {
      await bus.directory.putGateways([gateway('gw2')]);
      assert.equal(
        (await bus.directory.gateways()).map(({ name }) => name),
        ['gw2'],
      );
    });
    assert.equal(
      (await bus.directory.gateways()).map(({ name }) => name),
      ['gw2'],
    );
  } finally {
    await bus.stop();
    await deployment.stop();
  }
});

/** Moves the slot of `key`, which nobody has written yet, to another server; calls `meanwhile` half-way. */
async function moveSlot(
  deployment: Deployment & {
    primaries(): Promise<RedisServer[]>;
    primaryOf(key: string): Promise<RedisServer>;
  },
  key: string,
  meanwhile: () => Promise<void>,
): Promise<void> {
  const from = await deployment.primaryOf(key);
  const primaries = await deployment.primaries();
  const to = primaries.find((server) => server !== from) as RedisServer;
  const [fromId, toId] = await Promise.all(
    [from, to].map((server) => ask(deployment, server, (client) => client.cluster('MYID'))),
  );
  const slot = await ask(deployment, from, (client) => client.cluster('KEYSLOT', key));
  await ask(deployment, to, (client) => client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(fromId)));
  await ask(deployment, from, (client) => client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(toId)));
  await meanwhile();
  for (const server of [to, from, ...primaries]) {
    await ask(deployment, server, (client) => client.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(toId)));
  }
}

test.run();
