/** An older copy of the database in place of the one in use. */
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StatusDocument } from '../../admin-api/http/schemas/operations.ts';
import { startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';
import { withLab } from './lab.ts';

const { testLab } = withLab({ bus: 'redis', gateways: 1 });

testLab(
  'S-7: a server on an older copy of the database is held until `pushpoint restored` begins an epoch',
  async (lab) => {
    const { deployment } = lab;
    const data = join(deployment.folder, 'data');
    const database = join(data, 'pushpoint.db');
    const restored = async (...flags: string[]) => {
      const program = startCli(['restored', '--data-dir', data, ...flags]);
      await program.exited;
      return program.stop().then(({ code }) => ({ code, output: program.output }));
    };
    const epoch = async () => (await lab.operator.api.get<StatusDocument>('/v1/status')).installation.epoch;

    const devices = await lab.fleet(3);
    const running = await restored();
    assert.is(running.code, 1);
    assert.match(running.output, 'is in use by another administration server');

    await deployment.end('admin');
    await copyFile(database, `${database}.backup`);
    assert.is((await restored('--redis-url', deployment.redis.url)).code, 0);
    await deployment.start('admin');
    assert.is(await epoch(), 2);

    await deployment.end('admin');
    await copyFile(`${database}.backup`, database);
    for (const more of ['-wal', '-shm']) await rm(`${database}${more}`, { force: true });
    await deployment.launch('admin');
    const held = () =>
      fetch(`${deployment.server}/ready`)
        .then(async (response) => ({ status: response.status, text: await response.text() }))
        .catch(() => null);
    await waitFor(async () => (await held())?.status === 503, { what: 'the server to be held' });
    assert.match((await held())?.text ?? '', 'is of epoch 1, and epoch 2 was in use');
    assert.match((await held())?.text ?? '', 'pushpoint restored');
    const asked = await lab.operator.api.get('/v1/status').catch((error: Error) => error);
    assert.match((asked as Error).message, 'pushpoint restored');
    await deployment.end('admin');

    const begun = await restored('--redis-url', deployment.redis.url);
    assert.match(begun.output, 'epoch 3 begins, it was 1');
    await deployment.start('admin');
    assert.is(await epoch(), 3);
    await waitFor(() => devices.every(({ connected }) => connected), { what: 'the devices' });
    const command = await lab.operator.send('statistics', devices);
    assert.is((await lab.operator.finished(command.id)).counts.succeeded, devices.length);
  },
);

test.run();
