/** A second administration server on another machine: what it has to be given, and what it does with that. */
import { randomBytes } from 'node:crypto';
import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../cli/api/api-client.ts';
import { type Program, startCli } from '../services/processes.ts';
import { freePort } from '../wait.ts';
import { TestDevice } from './fleet.ts';
import { type Lab, withLab } from './lab.ts';
import { Operator } from './operator.ts';

const shared = await mkdtemp(join(tmpdir(), 'secrets-'));
const keyFile = join(shared, 'secrets.key');
await writeFile(keyFile, randomBytes(32).toString('base64'), { mode: 0o600 });

const adminFlags = ['--secrets-key-file', keyFile];
const { testLab } = withLab({ bus: 'redis', store: 'postgres', gateways: 1, adminFlags });

/** A machine with an empty data folder; `key`: the file that was brought to it. */
async function secondServer(lab: Lab, folder: string, key?: string) {
  const port = await freePort();
  const { redis, databaseUrl } = lab.deployment;
  const flags = ['--api-port', `${port}`, '--redis-url', redis.url, '--database-url', databaseUrl];
  const args = ['admin', '--data-dir', join(folder, 'data'), ...flags, '--log-level', 'warn'];
  const program = startCli(key === undefined ? args : [...args, '--secrets-key-file', key]);
  return { program, server: `http://127.0.0.1:${port}` };
}

testLab(
  'with database, Redis and a copy of the key file a second server does all that the first does',
  async (lab) => {
    const folder = await mkdtemp(join(tmpdir(), 'machine-'));
    const before = await lab.device();
    let second: Program | undefined;
    try {
      const without = await secondServer(lab, folder);
      assert.is((await without.program.exited).code, 2, without.program.output);
      assert.match(without.program.output, 'no key is given: name the file of the key');
      const copy = join(folder, 'secrets.key');
      await copyFile(keyFile, copy);
      const { program, server } = await secondServer(lab, folder, copy);
      second = program;
      await program.waitForLine(/^ready /, 60_000);
      assert.not.ok((await readdir(join(folder, 'data'))).includes('admin-token'), 'the database has one');

      // The operator's token, devices enrolled at either, and the signatures of both count at both.
      const api = new ApiClient({ server, token: lab.deployment.token, timeoutMs: 30_000 });
      const operator = new Operator(api);
      const device = new TestDevice({ name: 'enrolled at the second', group: 'all' });
      await device.enrol(server, await operator.enrolmentToken('all', 1));
      await device.start();
      lab.devices.push(device);
      const both = await lab.operator.send('sync', [before, device]);
      assert.is((await lab.operator.finished(both.id)).counts.succeeded, 2);

      await lab.deployment.kill('admin');
      const alone = await operator.send('sync', [before, device]);
      assert.is((await operator.finished(alone.id, 60_000)).counts.succeeded, 2);
    } finally {
      await second?.stop();
      if (!lab.deployment.running('admin')) await lab.deployment.start('admin');
      await rm(folder, { recursive: true, force: true });
    }
  },
);

test.after(() => rm(shared, { recursive: true, force: true }));
test.run();
