// time limit: 180 s
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { joinFlags } from '../deployment/flags.ts';
import { startPostgres } from '../services/postgres.ts';
import { type Program, startCli } from '../services/processes.ts';
import { startRedis } from '../services/redis.ts';
import { freePort, waitFor } from '../wait.ts';

interface Ready {
  ready: boolean;
  dependencies: Record<string, { ok: boolean; since: string; reason?: string }>;
}

const folder = mkdtempSync(join(tmpdir(), 'waiting-'));
const redis = await startRedis();
const postgres = await startPostgres({ fsync: false });
const database = await postgres.createDatabase();
const programs: Program[] = [];

function run(...args: string[]): Program {
  const program = startCli(args, { cwd: folder });
  programs.push(program);
  return program;
}

const get = async (port: number, path: string) => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, body: (await response.json()) as Ready };
};

/** Once it listens. */
const answers = (port: number) =>
  waitFor(async () => (await get(port, '/live').catch(() => undefined))?.status === 200, {
    timeoutMs: 20_000,
    what: `port ${port} to answer`,
  });

test.after.each(async () => {
  for (const program of programs.splice(0).reverse()) await program.stop();
});
test.after(async () => {
  await redis.stop();
  await postgres.stop();
  rmSync(folder, { recursive: true });
});

test('programs started before Redis and PostgreSQL are live but not ready until both are up', async () => {
  const [apiPort, port, metricsPort] = [await freePort(), await freePort(), await freePort()];
  await redis.kill();
  await postgres.kill();
  const admin = run(
    ...['admin', '--data-dir', join(folder, 'data'), '--api-port', String(apiPort)],
    ...['--redis-url', redis.url, '--database-url', database, '--join-tokens', 'gw1'],
  );
  const gateway = run(
    ...['gateway', '--name', 'gw1', '--address', `ws://127.0.0.1:${port}`, '--workers', '1'],
    ...['--port', String(port), '--metrics-port', String(metricsPort), '--redis-url', redis.url],
    ...joinFlags('gw1', join(folder, 'data')),
  );
  await Promise.all([answers(apiPort), answers(metricsPort)]);
  for (const at of [apiPort, metricsPort]) {
    const { status, body } = await get(at, '/ready');
    assert.equal([status, body.ready, body.dependencies.bus?.ok], [503, false, false]);
    assert.match(body.dependencies.bus?.reason ?? '', /ECONNREFUSED/);
  }
  assert.is((await get(apiPort, '/v1/devices')).status, 503);

  await redis.restart();
  await gateway.waitForLine(/join-tokens.gw1 does not exist yet/, 60_000);
  await admin.waitForLine(/waiting for the store/, 60_000);
  const { body } = await get(apiPort, '/ready');
  assert.equal([body.dependencies.bus?.ok, body.dependencies.store?.ok], [true, false]);
  await postgres.restart();
  await admin.waitForLine(/^ready /, 60_000);
  await gateway.waitForLine(/^ready /, 60_000);
  await waitFor(async () => (await get(apiPort, '/ready')).status === 200, { timeoutMs: 20_000 });
  // Said once, not with every attempt.
  for (const [program, what] of [
    [admin, 'bus'],
    [admin, 'store'],
    [gateway, 'bus'],
  ] as const) {
    const said = program.lines.filter((line) => line.includes(`"waiting for the ${what}"`));
    assert.is(said.length, 1, program.output);
  }
});

test('a program that waits stops in order when it is told to', async () => {
  const admin = run(
    ...['admin', '--data-dir', join(folder, 'other'), '--api-port', String(await freePort())],
    ...['--redis-url', redis.url, '--database-url', `postgres://x@127.0.0.1:${await freePort()}/x`],
  );
  await admin.waitForLine(/waiting for the store/, 30_000);
  assert.equal(await admin.stop(), { code: 0, signal: null }, admin.output);
});

test('a port that is taken ends a program that would wait', async () => {
  const taken = new URL(redis.url).port;
  const admin = run(
    ...['admin', '--data-dir', join(folder, 'taken'), '--api-port', taken],
    ...['--redis-url', `redis://127.0.0.1:${await freePort()}`],
  );
  assert.is((await admin.exited).code, 1);
  assert.match(admin.output, /Cannot start: port \d+ .* is in use already/);
});

test('settings that are wrong end a program at once, with a sentence', async () => {
  const guarded = await startRedis({ settings: [['requirepass', 'secret']] });
  const own = ['--data-dir', join(folder, 'wrong'), '--api-port', '0'];
  const admin = (redisUrl: string, databaseUrl: string) =>
    run('admin', ...own, '--redis-url', redisUrl, '--database-url', databaseUrl);
  const gateway = (redisUrl: string) =>
    run(
      ...[
        'gateway',
        '--name',
        'gw1',
        '--address',
        'ws://127.0.0.1:1',
        '--port',
        '0',
        '--redis-url',
        redisUrl,
      ],
      ...joinFlags('gw1', join(folder, 'none')),
    );
  const open = guarded.url;
  const wrong = open.replace('://', '://:wrong@');
  try {
    for (const [program, sentence] of [
      [admin(wrong, database), /Cannot start: Redis: .*WRONGPASS/],
      [admin(open, database), /Cannot start: Redis: .*NOAUTH/],
      [gateway(wrong), /Cannot start: Redis: .*WRONGPASS/],
      [admin(`${redis.url}/99`, database), /Cannot start: Redis: .*DB index/],
      [admin(redis.url, `${database}_`), /Cannot start: PostgreSQL at .* there is no database test_1_/],
      [admin(redis.url, database.replace('postgres@', 'nobody@')), /Cannot start: PostgreSQL at .*nobody/],
      [admin(redis.url, 'postgres://me@db:port/x'), /database URL cannot be used: port must be/],
    ] as const) {
      assert.is((await program.exited).code, 2, program.output);
      assert.ok(sentence.test(program.output), program.output);
      assert.not.match(program.output, /Unexpected fault|\n {4}at /);
    }
  } finally {
    await guarded.stop();
  }
});

test.run();
