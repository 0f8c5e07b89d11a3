/**
 * A database from a backup that is older than what devices have done since: all comes to its end, and nothing
 * runs twice.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DeploymentOptions } from '../deployment/deployment.ts';
import { waitFor } from '../wait.ts';
import { gate, usualWork, whenSettled } from './fleet.ts';
import { Lab } from './lab.ts';

const SITES: Record<string, DeploymentOptions> = {
  'SQLite and the bus in one process': { bus: 'memory' },
  'SQLite and Redis, gateways going on': { bus: 'redis', gateways: 2 },
  'PostgreSQL and Redis, gateways going on': { bus: 'redis', store: 'postgres', gateways: 1 },
};

for (const [name, options] of Object.entries(SITES)) {
  test(`an older backup put back closes what has ended since (${name})`, async () => {
    const lab = await Lab.start(options);
    const folder = await mkdtemp(join(tmpdir(), 'backup-'));
    const file = join(folder, 'backup');
    try {
      const { deployment, operator } = lab;
      const held = gate();
      const devices = await lab.fleet(6, { work: held.work });
      const [away] = await lab.fleet(1);
      if (!away) throw new Error('no device');
      await lab.away(away);
      const done = await operator.send('statistics', devices, { all: true, offline: 'skip' });
      const running = await operator.send('sync', devices, { all: true, timeout: 3_600 });
      await waitFor(() => devices.every((device) => device.started(running.id) === 1));
      for (const device of devices) await operator.reaches(running.id, device, ['acked', 'running']);

      await deployment.backUp(file);
      held.open();
      away.work = usualWork;
      await away.start();
      // After the backup: everything ends and is settled, so devices owe nothing.
      for (const id of [done.id, running.id]) await operator.finished(id, 60_000);
      const all = [...devices, away];
      await whenSettled(all, (device) => device.sdk.counts().unsettled === 0);
      const runs = () => all.map((device) => [done.id, running.id].map((id) => device.completed(id)));
      const before = runs();

      await deployment.end('admin');
      await deployment.restore(file);
      await deployment.start('admin');
      for (const id of [done.id, running.id]) {
        const { counts } = await operator.finished(id, 90_000);
        assert.is(counts.succeeded, id === running.id ? 7 : 6, JSON.stringify(counts));
      }
      assert.equal(runs(), before, 'nothing ran a second time');
      const next = await operator.send('statistics', all, { all: true });
      assert.is((await operator.finished(next.id, 60_000)).counts.succeeded, 7);
    } catch (error) {
      console.error(lab.deployment.lastWords());
      throw error;
    } finally {
      await lab.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
}

test.run();
