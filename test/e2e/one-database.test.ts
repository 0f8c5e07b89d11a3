import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Program, startCli } from '../services/processes.ts';
import { startRedis } from '../services/redis.ts';

test('a second administration server on one SQLite file refuses to start and names the first', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'admins-'));
  const redis = await startRedis();
  const args = ['--data-dir', join(folder, 'data'), '--api-port', '0', '--redis-url', redis.url];
  const first = startCli(['admin', ...args], { cwd: folder });
  let third: Program | undefined;
  try {
    await first.waitForLine(/^ready /, 30_000);
    const second = startCli(['admin', ...args], { cwd: folder });
    assert.is((await second.exited).code, 1);
    assert.match(second.output, `in use by another administration server (process ${first.pid} on `);
    assert.ok(first.running);
    await first.kill('SIGKILL');
    third = startCli(['admin', ...args], { cwd: folder });
    await third.waitForLine(/^ready /, 30_000);
  } finally {
    await third?.stop();
    await first.stop();
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

test.run();
