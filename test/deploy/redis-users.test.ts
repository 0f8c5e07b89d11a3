// time limit: 180 s
/** The users of deploy/redis/users.acl at a real Redis: what each program needs works, and no more. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { type Program, startCli } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { startClusterDeployment } from '../services/redis-cluster.ts';
import { freePort, waitFor } from '../wait.ts';
import { read } from './deploy-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'redis-users-'));
const USERS = read('deploy/redis/users.acl');
const programs: Program[] = [];
let redis: RedisServer;
let watcher: Redis;

function run(...args: string[]): Program {
  const program = startCli(args, { cwd: folder });
  programs.push(program);
  return program;
}

type Role = 'admin' | 'gateway';

const urlOf = (role: Role) => `redis://pushpoint-${role}:change-me-${role}@127.0.0.1:${redis.port}`;
const facts = async (program: Program) =>
  JSON.parse((await program.waitForLine(/^ready /, 30_000)).slice('ready '.length));

test.before(async () => {
  const aclfile = join(folder, 'users.acl');
  writeFileSync(aclfile, `${USERS}user watcher on nopass ~* &* +@all\n`);
  redis = await startRedis({ settings: [['aclfile', aclfile]] });
  watcher = new Redis({ port: redis.port, username: 'watcher', password: 'any' });
});
test.after.each(async () => {
  for (const program of programs.splice(0).reverse()) await program.stop();
});
test.after(async () => {
  watcher.disconnect();
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A deployment with a device, on these users. */
async function start(data: string, url: (role: Role) => string) {
  const api = ['--api-port', String(await freePort()), '--data-dir', join(folder, data)];
  const admin = run('admin', ...api, '--redis-url', url('admin'), '--canary-interval', '1s');
  const { api: server, tokenFile } = await facts(admin);
  const reach = ['--server', server, '--token-file', tokenFile];
  const joinToken = await run('gateways', 'join-token', 'gw1', '--quiet', ...reach).waitForLine(/^ppg1\./);
  const gateway = run(
    ...['gateway', '--name', 'gw1', '--host', '127.0.0.1', '--port', '0', '--metrics-port', '0'],
    ...['--address', 'ws://127.0.0.1:0', '--workers', '2', '--redis-url', url('gateway')],
    ...['--data-dir', join(folder, data), '--join-token', joinToken],
  );
  const { metricsPort } = await facts(gateway);
  return { admin, gateway, server, metricsPort, reach };
}

test('commands run, a gateway drains, dies and stops, and Redis denies the programs nothing', async () => {
  const { gateway, server, metricsPort, reach } = await start('one', urlOf);
  const token = await run('enroll-token', '--quiet', ...reach).waitForLine(/^pp1\./);
  const agent = run('agent', '--server', server, '--token', token, '--state', join(folder, 'state'));
  await facts(agent);
  const succeeds = async (...args: string[]) => {
    const program = run(...args, ...reach);
    const { code } = await program.exited;
    assert.is(code, 0, program.output);
  };
  await succeeds('sync', '--all', '--wait');
  await succeeds('gateways', 'set', 'gw1', '--limit', '77', '--wait');
  const { workers } = (await (await fetch(`http://127.0.0.1:${metricsPort}/ready`)).json()) as {
    workers: { pid: number }[];
  };
  // Its lease is released by the supervisor; then another worker takes its place.
  process.kill(workers[0]?.pid ?? -1, 'SIGKILL');
  await gateway.waitForLine(/worker process ended/);
  await succeeds('sync', '--all', '--wait');
  const ready = async () => (await fetch(`${server}/ready`)).json() as Promise<{ ready: boolean }>;
  await waitFor(async () => (await ready()).ready, { what: 'the canaries to be back' });
  assert.equal(await gateway.stop(30_000), { code: 0, signal: null });
  await agent.stop();
  const denied = (await watcher.acl('LOG')) as unknown[];
  assert.equal(denied, []);
});

test('a server that joins as the administration user may ask, and read the answer', async () => {
  await watcher.acl('LOG', 'RESET');
  const bus = new RedisBus({ url: urlOf('admin') });
  await bus.start();
  try {
    const id = '0'.repeat(64);
    assert.is(await bus.joins.ask(id, new Uint8Array([1])), 'asked');
    assert.is(await bus.joins.ask(id, new Uint8Array([1])), 'asked');
    assert.is(await bus.joins.answerTo(id), null);
    await bus.joins.drop([id]);
  } finally {
    await bus.stop();
  }
  assert.equal(await watcher.acl('LOG'), []);
});

test('a gateway cannot change what others say, and reads nothing that is not for gateways', async () => {
  const client = new Redis(urlOf('gateway'));
  await watcher.hset('pp:gateways', 'gw9', 'x');
  const denied: [string, ...string[]][] = [
    // What is to go to other workers.
    ['XDEL', 'pp:{other}:outbox', '1-1'],
    ['DEL', 'pp:{other}:outbox', 'pp:gateways'],
    // The directory and the list of gateways.
    ['HSET', 'pp:directory', 'd1', 'x'],
    ['HDEL', 'pp:directory', 'd1'],
    ['DEL', 'pp:directory'],
    ['EVAL', "return redis.call('HSET', KEYS[1], 'd1', 'x')", '1', 'pp:directory'],
    ['SET', 'pp:directory:vouched', 'x'],
    ['HSET', 'pp:gateways', 'gw9', 'x'],
    ['HDEL', 'pp:gateways', 'gw9'],
    ['HSET', 'pp:gateway-lists', 'all', 'x'],
    ['HDEL', 'pp:gateway-lists', 'all'],
    ['DEL', 'pp:installation'],
    // What other gateways reported.
    ['XRANGE', 'pp:{receipts}', '-', '+'],
    ['XREADGROUP', 'GROUP', 'ledger', 'me', 'STREAMS', 'pp:{receipts}', '>'],
    ['XGROUP', 'CREATE', 'pp:{receipts}', 'mine', '0'],
    ['XACK', 'pp:{receipts}', 'ledger', '1-1'],
    ['XDEL', 'pp:{receipts}', '1-1'],
    ['XTRIM', 'pp:{receipts}', 'MAXLEN', '0'],
    ['DEL', 'pp:{receipts}'],
    ['XADD', 'pp:{receipts}:dead', '*', 'why', 'x'],
    ['SET', 'pp:{receipts}:stream', 'x'],
    ['EVAL', "return redis.call('XDEL', KEYS[1], '1-1')", '1', 'pp:{receipts}'],
    // Other keys, other channels, the server itself.
    ['GET', 'somebody-elses'],
    ['SET', 'somebody-elses', 'x'],
    ['PUBLISH', 'somebody-elses', 'x'],
    ['SUBSCRIBE', 'somebody-elses'],
    ['PSUBSCRIBE', '*'],
    ['KEYS', '*'],
    ['SCAN', '0'],
    ['FLUSHALL'],
    ['CONFIG', 'SET', 'maxmemory', '1'],
    ['ACL', 'LIST'],
    ['MONITOR'],
    ['SHUTDOWN'],
    ['REPLICAOF', 'no', 'one'],
    ['FUNCTION', 'LIST'],
  ];
  try {
    for (const command of denied) {
      const [name, ...args] = command;
      const answer = await client.call(name, ...args).then(
        (value) => `answered ${JSON.stringify(value)}`,
        (error: Error) => error.message,
      );
      assert.match(answer, /NOPERM|can't (run this command|access at least one)/, command.join(' '));
    }
    assert.is(await watcher.hget('pp:gateways', 'gw9'), 'x');
  } finally {
    client.disconnect();
  }
});

test('in a Redis Cluster, too, Redis denies the programs nothing', async () => {
  const cluster = await startClusterDeployment({ replicas: 0 });
  const connections = cluster.servers.map((server) => cluster.connect(server));
  try {
    for (const line of USERS.trim().split('\n').slice(1)) {
      const [, name = '', ...rules] = line.match(/\([^)]*\)|\S+/g) ?? [];
      for (const connection of connections) await connection.call('ACL', 'SETUSER', name, ...rules);
    }
    const { reach, gateway, admin } = await start('cluster', (role) =>
      cluster.url.replace('://', `://pushpoint-${role}:change-me-${role}@`),
    );
    const known = () => run('gateways', 'show', 'gw1', ...reach).exited;
    await waitFor(async () => (await known()).code === 0, { what: 'gw1 to be recorded' });
    const set = run('gateways', 'set', 'gw1', '--limit', '77', '--wait', ...reach);
    assert.is((await set.exited).code, 0, set.output);
    // The canary's no-op goes down and its answer up.
    const { api } = await facts(admin);
    await waitFor(async () => ((await (await fetch(`${api}/ready`)).json()) as { ready: boolean }).ready);
    assert.equal(await gateway.stop(30_000), { code: 0, signal: null });
    for (const connection of connections) assert.equal(await connection.call('ACL', 'LOG'), []);
  } finally {
    // Before their Redis.
    for (const program of programs.splice(0).reverse()) await program.stop();
    for (const connection of connections) connection.disconnect();
    await cluster.stop();
  }
});

test('an administration server cannot leave the keys of its installation, nor manage Redis', async () => {
  const client = new Redis(urlOf('admin'));
  try {
    for (const [name, ...args] of [
      ['SET', 'other:leases', 'x'],
      ['PUBLISH', 'other', 'x'],
      ['FLUSHALL'],
      ['KEYS', '*'],
      ['CONFIG', 'SET', 'maxmemory', '1'],
      ['ACL', 'LIST'],
      ['SHUTDOWN'],
    ] as [string, ...string[]][]) {
      const refused = await client.call(name, ...args).then(
        () => '',
        (error: Error) => error.message,
      );
      assert.match(refused, /NOPERM/, name);
    }
  } finally {
    client.disconnect();
  }
});

test('nobody gets in without a user', async () => {
  const client = new Redis({ port: redis.port, enableReadyCheck: false });
  client.on('error', () => {});
  const refused = await client.get('pp:leases').catch((error: Error) => error.message);
  assert.match(String(refused), /NOAUTH/);
  client.disconnect();
});

test.run();
