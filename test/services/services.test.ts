import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { makeCertificates } from './certificates.ts';
import { queryPostgres, startPostgres } from './postgres.ts';
import { Program } from './processes.ts';
import { startRedis } from './redis.ts';
import { startClusterDeployment } from './redis-cluster.ts';
import { startSentinelDeployment } from './redis-sentinel.ts';

async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

test('a Redis keeps its data over a restart unless restarted empty, and is gone once stopped', async () => {
  const server = await startRedis();
  try {
    const first = server.pid;
    await withRedis(server.url, (redis) => redis.set('a', '1'));
    await server.restart();
    assert.is.not(server.pid, first);
    assert.is(await withRedis(server.url, (redis) => redis.get('a')), '1');
    await server.kill();
    assert.throws(() => server.pid, /not running/);
    await server.restart({ empty: true });
    assert.is(await withRedis(server.url, (redis) => redis.get('a')), null);
  } finally {
    await server.stop();
    await server.stop();
  }
  assert.throws(() => server.pid, /not running/);
});

test('a frozen Redis can be stopped', async () => {
  const server = await startRedis();
  await server.kill('SIGSTOP');
  await server.stop();
});

test('sentinels over TLS with passwords replace a primary that was killed', async () => {
  const certificates = await makeCertificates();
  const deployment = await startSentinelDeployment({
    password: 'one',
    sentinelPassword: 'two',
    tls: certificates,
    downAfterMs: 500,
  });
  try {
    const old = await deployment.primary();
    await old.kill();
    const next = await deployment.failedOver(old);
    assert.equal(await deployment.replicas(), [old]);
    assert.is.not(next, old);
  } finally {
    await deployment.stop();
    await certificates.remove();
  }
});

test('a cluster replaces a primary that was killed, and one that is asked to leave', async () => {
  const deployment = await startClusterDeployment({ password: 'one', nodeTimeoutMs: 2_500 });
  try {
    const old = await deployment.primaryOf('a');
    await old.kill();
    await deployment.failedOver(old);
    const next = await deployment.primaryOf('a');
    assert.is.not(next, old);
    await old.restart();
    await waitFor(async () => (await deployment.replicasOf(next)).includes(old), {
      what: 'it to be a replica',
    });
    await deployment.failOver(next);
    assert.is(await deployment.primaryOf('a'), old);
  } finally {
    await deployment.stop();
  }
});

test('a PostgreSQL keeps commits over kill -9, and databases do not see each other', async () => {
  const server = await startPostgres();
  try {
    const one = await server.createDatabase();
    const two = await server.createDatabase();
    await queryPostgres(one, 'create table t as select 7 as n');
    await server.kill();
    await server.restart();
    assert.equal(await queryPostgres(one, 'select n from t'), [{ n: 7 }]);
    assert.equal(await queryPostgres(two, "select to_regclass('t') as found"), [{ found: null }]);
  } finally {
    await server.stop();
  }
});

test('a killed PostgreSQL is gone only with its last backend; backends answer until then', async () => {
  const server = await startPostgres();
  const backend = new Client({ connectionString: server.url });
  backend.on('error', () => undefined);
  try {
    await backend.connect();
    const { rows } = await backend.query('select pg_backend_pid() as pid');
    const [{ pid: postmaster }, pid] = [server, rows[0].pid as number];
    process.kill(pid, 'SIGSTOP');
    let gone = false;
    const killed = server.kill().then(() => {
      gone = true;
    });
    await waitFor(() => !alive(postmaster), { what: 'the end of the process that was killed' });
    // What waited for that process only has said so by now.
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.is(gone, false);
    process.kill(pid, 'SIGCONT');
    await killed;
  } finally {
    await server.stop();
  }
});

test('a test that is killed leaves neither its services nor their folders behind', async () => {
  const url = new URL('./redis.js', import.meta.url).href;
  const source = `
    const { startRedis } = await import('${url}');
    const server = await startRedis();
    console.log(JSON.stringify({ pid: server.pid, port: server.port }));
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = await new Promise<string>((resolve) =>
    child.stdout.once('data', (data) => resolve(String(data))),
  );
  const { pid } = JSON.parse(output) as { pid: number };
  process.kill(pid, 0);
  child.kill('SIGKILL');
  await waitFor(() => !alive(pid), { what: 'the end of the orphan' });
});

test('a program that is stopped takes the processes it started with it', async () => {
  const source = `
    const { spawn } = require('node:child_process');
    const child = spawn('sleep', ['600']);
    console.log('starting');
    console.log(JSON.stringify({ child: child.pid }));
    setInterval(() => {}, 1000);
  `;
  const program = new Program(process.execPath, ['-e', source], {});
  const { child } = await program.waitForJson<{ child: number }>();
  assert.ok(alive(child));
  await program.kill();
  assert.equal(await program.stop(), { code: null, signal: 'SIGKILL' });
  await waitFor(() => !alive(child), { what: 'the end of the grandchild' });
});

test('waiting for a line of a program that ended without it fails with its output', async () => {
  const program = new Program(process.execPath, ['-e', 'console.error("no such thing")'], {});
  let message = '';
  await program.waitForLine('never').catch((error: Error) => {
    message = error.message;
  });
  assert.match(message, /ended without a line never:\nno such thing/);
  assert.equal(await program.stop(), { code: 0, signal: null });
});

/** A zombie that nobody has waited for yet counts as dead. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== 'linux' || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test.run();
