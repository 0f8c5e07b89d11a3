/**
 * The directory emptied while it is written, and an administration server of another database on the same
 * Redis.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reconnectAdvice } from '../../protocol/index.ts';
import { type Program, startCli } from '../services/processes.ts';
import { monitorRedis } from '../services/redis-monitor.ts';
import { freePort, waitFor } from '../wait.ts';
import type { TestDevice } from './fleet.ts';
import { allConnected, type Lab, withLab } from './lab.ts';

const { testLab } = withLab({ bus: 'redis', gateways: 1 });

interface Ready {
  ready: boolean;
  dependencies: Record<string, { ok: boolean; reason?: string }>;
}

async function readiness(lab: Lab): Promise<Ready> {
  return (await (await fetch(`${lab.deployment.server}/ready`)).json()) as Ready;
}

/** A code that says they do not belong, by device. */
function endedForGood(devices: readonly TestDevice[]): string[] {
  return devices.flatMap(({ name, closings }) =>
    closings
      .filter(({ code }) => reconnectAdvice(code) === 'slow')
      .map(({ code, reason }) => `${name}: ${code} ${reason}`),
  );
}

/** All are there, also those that come now, and obey. */
async function works(lab: Lab, devices: readonly TestDevice[]): Promise<void> {
  await waitFor(async () => (await readiness(lab)).ready, {
    timeoutMs: 30_000,
    what: 'the server to be ready',
  });
  const all = [...devices, await lab.device()];
  await allConnected(all);
  const command = await lab.operator.send('statistics', all);
  assert.is((await lab.operator.finished(command.id, 60_000)).counts.succeeded, all.length);
  assert.equal(endedForGood(all), []);
}

testLab(
  'Redis emptied six times, each time while the directory is being written: no device is ended',
  async (lab) => {
    const devices = await lab.fleet(20);
    const redis = new Redis(lab.deployment.redis.url);
    let flushes = 1;
    let flushed = redis.flushall();
    const end = await monitorRedis(lab.deployment.redis, (command, key) => {
      // At its first word: the next one comes a moment later.
      if (command !== 'hset' || key !== 'pp:directory' || flushes === 6) return;
      flushes += 1;
      flushed = redis.flushall();
    });
    try {
      await waitFor(() => flushes === 6, { timeoutMs: 60_000, what: 'the writings' });
      await flushed;
    } finally {
      end();
      redis.disconnect();
    }
    await works(lab, devices);
    const metrics = await (await fetch(`${lab.deployment.server}/metrics`)).text();
    assert.match(metrics, /^pushpoint_admin_directory_whole 1$/m);
    assert.match(metrics, /^pushpoint_admin_directory_writes_total\{outcome="lost"\} [1-9]/m);
  },
);

async function otherServer(lab: Lab, folder: string): Promise<Program> {
  const port = String(await freePort());
  const args = ['--data-dir', folder, '--api-port', port, '--redis-url', lab.deployment.redis.url];
  return startCli(['admin', ...args, '--log-level', 'warn']);
}

testLab(
  'an administration server of another database is refused and says both; the first goes on',
  async (lab) => {
    const devices = await lab.fleet(5);
    const { installation } = await lab.operator.api.get<{ installation: { id: string } }>('/v1/status');
    const folder = await mkdtemp(join(tmpdir(), 'other-'));
    const other = await otherServer(lab, folder);
    try {
      await waitFor(() => !other.running || /^ready /m.test(other.output), { timeoutMs: 30_000 });
      assert.not(other.running, other.output);
      const { code } = await other.exited;
      assert.is(code, 3, other.output);
      const [, theirs, own] =
        /belongs to installation (\w+), and the database is that of (\w+)/.exec(other.output) ?? [];
      assert.is(theirs, installation.id);
      assert.is.not(own, installation.id);
      assert.match(other.output, '--redis-prefix');
      assert.ok((await readiness(lab)).ready);
      assert.ok(devices.every(({ connected }) => connected));
      await works(lab, devices);
    } finally {
      await other.stop();
      await rm(folder, { recursive: true, force: true });
    }
  },
);

testLab(
  'a directory that another installation did replace ends nobody, and is written again once it is gone',
  async (lab) => {
    const devices = await lab.fleet(10);
    const folder = await mkdtemp(join(tmpdir(), 'other-'));
    const redis = new Redis(lab.deployment.redis.url);
    // While the first stands still, nobody holds the Redis that somebody emptied.
    lab.deployment.freeze('admin');
    await redis.flushall();
    const other = await otherServer(lab, folder);
    try {
      await other.waitForLine(/^ready /, 30_000);
      lab.deployment.thaw('admin');
      const foreign = await waitFor(async () => {
        const { ready, dependencies } = await readiness(lab);
        return !ready && /belongs to installation/.test(dependencies.bus?.reason ?? '') && dependencies.bus;
      });
      assert.match(
        foreign.reason ?? '',
        /^Redis .* belongs to installation \w+ now, but this program to \w+$/,
      );
      // Who comes now is told to come again.
      const [first] = devices as [TestDevice];
      await first.stop();
      const before = first.closings.length;
      await first.start();
      await waitFor(() => first.closings.length > before + 1, { what: 'two attempts' });
      assert.equal(endedForGood(devices), []);
      assert.ok(
        devices.slice(1).every(({ connected }) => connected),
        'those who are there stay',
      );
      await other.stop();
      // It counts as gone when it was not heard of for a while: that is not waited for here.
      await redis.hset('pp:installation', 'seen', 1);
      await works(lab, devices);
    } finally {
      lab.deployment.thaw('admin');
      redis.disconnect();
      await other.stop();
      await rm(folder, { recursive: true, force: true });
    }
  },
);

test.run();
