/** An older copy of the database in place of the one in use. */
import { statSync } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StatusDocument } from '../../admin-api/http/schemas/operations.ts';
import type { ServerKeysView } from '../../cli/api/views.ts';
import { decodeServerKeys } from '../../protocol/index.ts';
import { startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';
import type { TestDevice } from './fleet.ts';
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
    assert.match(begun.output, 'epoch 3 begins; it was 1');
    await deployment.start('admin');
    assert.is(await epoch(), 3);
    await waitFor(() => devices.every(({ connected }) => connected), { what: 'the devices' });
    const command = await lab.operator.send('statistics', devices);
    assert.is((await lab.operator.finished(command.id)).counts.succeeded, devices.length);
  },
);

/** `pushpoint ...`, which ends with 0; what it wrote. */
async function cli(args: readonly string[]): Promise<string> {
  const program = startCli(args);
  const { code } = await program.exited;
  assert.is(code, 0, program.output);
  return program.output;
}

testLab('K-3: a backup is restored while the root key is in a file, on another machine', async (lab) => {
  const { deployment } = lab;
  const data = join(deployment.folder, 'data');
  const database = join(data, 'pushpoint.db');
  const key = join(deployment.folder, 'root.pem');
  const tokenFile = join(data, 'admin-token');
  const keys = () => lab.operator.api.get<ServerKeysView>('/v1/keys');
  const before = await keys();
  const devices = await lab.fleet(3);

  await deployment.end('admin');
  const exporting = ['keys', 'root', 'export', '--data-dir', data, '--key', key];
  assert.match(await cli(exporting), 'no more in the database');
  assert.is(statSync(key).mode & 0o777, 0o600);
  const again = startCli(exporting);
  assert.is((await again.exited).code, 2, again.output);
  assert.match(again.output, 'is not in the database');
  await copyFile(database, `${database}.backup`);
  await deployment.start('admin');
  const exported = await keys();
  assert.equal([exported.fingerprint, exported.root.kept], [before.fingerprint, 'elsewhere']);

  // After the backup: another signing key.
  await lab.operator.api.request('POST', '/v1/keys/rotation', { body: {} });
  await cli(['keys', 'root', 'sign', '--key', key, '--server', deployment.server, '--token-file', tokenFile]);
  const { revision } = await keys();
  const newest = async ({ store }: TestDevice) => {
    const { keys: held } = (await store.load()).state;
    return held !== undefined && decodeServerKeys(held.body).revision === revision;
  };
  await waitFor(async () => (await Promise.all(devices.map(newest))).every(Boolean));

  await deployment.end('admin');
  await copyFile(`${database}.backup`, database);
  for (const more of ['-wal', '-shm']) await rm(`${database}${more}`, { force: true });
  const restored = ['restored', '--data-dir', data, '--redis-url', deployment.redis.url];
  const said = await cli(restored);
  const [, document = ''] = /sign-document --key FILE (\S+)/.exec(said) ?? [];
  assert.ok(document, said);
  await deployment.launch('admin');
  const held = () => fetch(`${deployment.server}/ready`).then((response) => response.text());
  await waitFor(async () => /root key has to sign/.test(await held().catch(() => '')));
  await deployment.end('admin');

  const signature = await cli(['keys', 'root', 'sign-document', document, '--key', key]);
  await cli([...restored, '--root-signature', signature.trim()]);
  await deployment.start('admin');
  const { fingerprint, epoch, pending } = await keys();
  assert.equal([fingerprint, pending], [before.fingerprint, null]);
  assert.ok(epoch > before.epoch);
  await waitFor(() => devices.every(({ connected }) => connected), { what: 'the devices' });
  const command = await lab.operator.send('statistics', devices);
  assert.is((await lab.operator.finished(command.id)).counts.succeeded, devices.length);
});

test.run();
