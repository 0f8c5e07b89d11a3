/** Connections that look alive and are not, and settings of Redis that an operator should change. */
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Bus } from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { SCRIPTS } from '../../bus/redis/scripts/index.ts';
import { startRedis } from '../services/redis.ts';
import { waitFor } from '../wait.ts';
import { writeDirectory } from '../write-directory.ts';
import { ack, delivery, identity, LONG_MS, load } from './samples.ts';
import { startProxy } from './tcp-proxy.ts';

const server = await startRedis();
const other = await startRedis();

async function hintsOf(bus: Bus): Promise<{ incarnation: string; count: () => number }> {
  const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
  let hints = 0;
  await bus.outboxes.onHint(incarnation, () => {
    hints += 1;
  });
  return { incarnation, count: () => hints };
}

test('a subscription that is half open is noticed and replaced', async () => {
  const proxy = await startProxy(server.port);
  const bus = new RedisBus({ url: `redis://127.0.0.1:${proxy.port}` });
  try {
    await bus.start();
    const { incarnation, count } = await hintsOf(bus);
    proxy.freeze((sent) => sent.includes('subscribe'));
    await waitFor(() => bus.status().parts?.some(({ name, ok }) => name === 'subscription' && !ok), {
      timeoutMs: 5_000,
      what: 'the status to name the subscription',
    });
    await waitFor(() => bus.status().available, { timeoutMs: 5_000, what: 'a new subscription' });
    assert.is(bus.counts().subscriptionsReplaced, 1);
    const before = count();
    assert.ok(before > 0, 'what may have been missed is looked for');
    await bus.outboxes.append(incarnation, [delivery(1)]);
    await waitFor(() => count() > before, { what: 'the hint' });
  } finally {
    await bus.stop();
    await proxy.stop();
  }
});

test('commands on a connection that is half open go on over another one', async () => {
  const proxy = await startProxy(server.port);
  const bus = new RedisBus({ url: `redis://127.0.0.1:${proxy.port}` });
  try {
    await bus.start();
    proxy.freeze((sent) => !sent.includes('subscribe'));
    await waitFor(() => !bus.status().available, { timeoutMs: 5_000, what: 'the status' });
    assert.match(bus.status().reason ?? '', /^commands: /);
    await waitFor(() => bus.status().available, { timeoutMs: 5_000, what: 'a new connection' });
    assert.ok(bus.counts().reconnects > 0);
  } finally {
    await bus.stop();
    await proxy.stop();
  }
});

test('a subscription to another server than the one commands go to is noticed and replaced', async () => {
  const proxy = await startProxy(server.port);
  const bus = new RedisBus({ url: `redis://127.0.0.1:${proxy.port}` });
  const redis = new Redis(server.url);
  try {
    await bus.start();
    const { incarnation, count } = await hintsOf(bus);
    proxy.leadTo(other.port);
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await waitFor(() => bus.counts().subscriptionsReplaced > 0, {
      timeoutMs: 5_000,
      what: 'it to be noticed',
    });
    assert.match(bus.status().reason ?? '', /^subscription: /);
    proxy.leadTo(server.port);
    await waitFor(() => bus.status().available, { timeoutMs: 5_000, what: 'the right server' });
    const before = count();
    await bus.outboxes.append(incarnation, [delivery(1)]);
    await waitFor(() => count() > before, { what: 'the hint' });
  } finally {
    redis.disconnect();
    await bus.stop();
    await proxy.stop();
  }
});

test('a server that becomes a replica is left, and the status says why', async () => {
  const bus = new RedisBus({ url: other.url });
  const redis = new Redis(other.url);
  try {
    await bus.start();
    await redis.replicaof('127.0.0.1', String(server.port));
    await waitFor(() => /replica/.test(bus.status().reason ?? ''), { timeoutMs: 5_000, what: 'the status' });
    await redis.replicaof('NO', 'ONE');
    await waitFor(() => bus.status().available, { timeoutMs: 5_000, what: 'the status' });
  } finally {
    redis.disconnect();
    await bus.stop();
  }
});

test('eviction and missing persistence are logged once, and stay in the status', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
  const redis = new Redis(server.url);
  await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
  await redis.config('SET', 'appendonly', 'no');
  const bus = new RedisBus({ url: server.url, log });
  try {
    await bus.start();
    const warnings = bus.status().warnings ?? [];
    assert.is(warnings.length, 2);
    assert.match(warnings.join('\n'), /maxmemory-policy is allkeys-lru/);
    assert.match(warnings.join('\n'), /persistence is off/);
    await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await waitFor(() => bus.counts().reconnects > 0 && bus.status().available, { what: 'the connection' });
    assert.is(lines.filter((line) => /maxmemory-policy/.test(line)).length, 1);
    assert.is(lines.filter((line) => /persistence/.test(line)).length, 1);
  } finally {
    await bus.stop();
    await redis.config('SET', 'maxmemory-policy', 'noeviction');
    await redis.config('SET', 'appendonly', 'yes');
    redis.disconnect();
  }
});

test('a user with the rights that the operations guide names is enough', async () => {
  const redis = new Redis(server.url);
  const rights = '~pp:* &pp:* +@all -@admin -@dangerous +info +client|unblock +config|get'.split(' ');
  await redis.call('ACL', 'SETUSER', 'pushpoint', 'on', '>own', ...rights);
  const bus = new RedisBus({ url: server.url.replace('://', '://pushpoint:own@') });
  try {
    await bus.start();
    const { incarnation, count } = await hintsOf(bus);
    await bus.outboxes.append(incarnation, [delivery(1)]);
    await waitFor(() => count() > 0, { what: 'the hint' });
    let applied = 0;
    const end = await bus.receipts.consume('one', async (batch) => {
      applied += batch.length;
    });
    await bus.receipts.append([ack(1)]);
    await waitFor(() => applied === 1, { what: 'the receipt' });
    await end();
    const generation = await writeDirectory(bus);
    assert.is((await bus.directory.look()).generation, generation);
    await bus.presence.sweep(10);
    assert.is((await bus.leases.list()).length > 0, true);
    assert.is(bus.status().available, true);
  } finally {
    redis.disconnect();
    await bus.stop();
  }
});

test('names that killed administration servers left in the group are forgotten, others are not', async () => {
  const redis = new Redis(server.url);
  const bus = new RedisBus({ url: server.url, prefix: 'forget' });
  const key = 'forget:{receipts}';
  try {
    await bus.start();
    await bus.receipts.append([ack(1)]);
    await redis.xgroup('CREATE', key, 'ledger', '0');
    await redis.xgroup('CREATECONSUMER', key, 'ledger', 'killed long ago');
    await redis.xgroup('CREATECONSUMER', key, 'ledger', 'just started');
    // It was silent for longer than this test runs.
    const long = 10 * 60_000;
    await redis.xreadgroup('GROUP', 'ledger', 'owes one', 'COUNT', 1, 'STREAMS', key, '>');
    const forget = (idleMs: number) =>
      redis.eval(SCRIPTS.forgetConsumers.lua, 1, key, 'ledger', idleMs, 100, 'just started');
    assert.is(await forget(long), 0);
    await waitFor(async () => (await forget(1)) === 1, { what: 'one to be idle for a millisecond' });
    const left = (await redis.xinfo('CONSUMERS', key, 'ledger')) as string[][];
    assert.equal(left.map(([, name]) => name).sort(), ['just started', 'owes one']);
  } finally {
    redis.disconnect();
    await bus.stop();
  }
});

test('the round trip of the probe is measured', async () => {
  const bus = new RedisBus({ url: server.url });
  await bus.start();
  try {
    const { probeRoundTripMs } = bus.counts();
    assert.ok(probeRoundTripMs !== null && probeRoundTripMs > 0);
  } finally {
    await bus.stop();
  }
});

test.after(async () => {
  await server.stop();
  await other.stop();
});

test.run();
