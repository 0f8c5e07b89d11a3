// time limit: 480 s
/** A second administration server on another machine: it joins, and does what the first does. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../cli/api/api-client.ts';
import type { AuthorityView, ServerView } from '../../cli/api/views.ts';
import { type Program, startCli } from '../services/processes.ts';
import { freePort, waitFor } from '../wait.ts';
import { TestDevice } from './fleet.ts';
import { type Lab, withLab } from './lab.ts';
import { Operator } from './operator.ts';

const shared = await mkdtemp(join(tmpdir(), 'secrets-'));
const keyFile = join(shared, 'secrets.key');
await writeFile(keyFile, randomBytes(32).toString('base64'), { mode: 0o600 });
const adminFlags = ['--secrets-key-file', keyFile];
const { testLab } = withLab({ bus: 'redis', store: 'postgres', gateways: 1, adminFlags });

/** Machines with an empty data folder; nothing is copied to them. */
async function machine() {
  const folder = await mkdtemp(join(tmpdir(), 'machine-'));
  const programs: Program[] = [];
  const data = join(folder, 'data');
  return {
    folder,
    data,
    own: (name: string, file: string) => join(data, 'servers', name, file),
    async start(lab: Lab, ...more: string[]) {
      const port = await freePort();
      const { redis, databaseUrl } = lab.deployment;
      const flags = ['--api-port', `${port}`, '--redis-url', redis.url, '--database-url', databaseUrl];
      const program = startCli(['admin', '--data-dir', data, ...flags, '--log-level', 'info', ...more]);
      programs.push(program);
      return { program, server: `http://127.0.0.1:${port}` };
    },
    async remove() {
      for (const program of programs) await program.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function says({ deployment }: Lab, server: string, ...args: string[]): Promise<string> {
  const tokenFile = join(shared, 'admin-token');
  await writeFile(tokenFile, deployment.token, { mode: 0o600 });
  const program = startCli([...args, '--server', server, '--token-file', tokenFile]);
  assert.is((await program.exited).code, 0, program.output);
  return program.lines.join('\n');
}

const readyOf = (program: Program) => program.waitForLine(/^ready /, 60_000);
const serverOf = (lab: Lab) => lab.operator.api.get<{ items: ServerView[] }>('/v1/servers');

testLab('a second server joins with a token, and does all that the first does', async (lab) => {
  const other = await machine();
  const before = await lab.device();
  const first = lab.deployment.server;
  try {
    const without = await other.start(lab);
    assert.is((await without.program.exited).code, 2, without.program.output);
    assert.match(without.program.output, 'no key is given: name the file of the key');
    const unnamed = await other.start(lab, '--join-token', 'pps1.x');
    assert.is((await unnamed.program.exited).code, 2, unnamed.program.output);
    assert.match(unnamed.program.output, 'needs --server-name as well');
    const none = await other.start(lab, '--server-name', 'admin2');
    assert.is((await none.program.exited).code, 2, none.program.output);
    assert.match(
      none.program.output,
      /no valid certificate: start it with --join-token .*servers join-token/,
    );

    const token = await says(lab, first, 'servers', 'join-token', 'admin2', '--quiet');
    const named = ['--server-name', 'admin2'];
    const { program, server } = await other.start(lab, ...named, '--join-token', token);
    await readyOf(program);
    assert.not.ok((await readdir(other.data)).includes('admin-token'), 'the database has one');
    const brought = await readFile(other.own('admin2', 'secrets.key'), 'utf8');
    assert.is(brought.trim(), (await readFile(keyFile, 'utf8')).trim());
    for (const file of ['secrets.key', 'identity.json', 'certificate.pem']) {
      assert.is((await stat(other.own('admin2', file))).mode & 0o777, 0o600, file);
    }
    assert.match(await says(lab, first, 'servers'), /admin2 +runs /);
    const metrics = await (await fetch(`${server}/metrics`)).text();
    assert.match(metrics, /pushpoint_certificate_days_left\{certificate="identity"\} (29|30)/);

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

    // A token is good once, on whichever machine.
    const thief = await machine();
    try {
      const again = await thief.start(lab, ...named, '--join-token', token);
      assert.is((await again.program.exited).code, 3, again.program.output);
      assert.match(again.program.output, /The join token was used: ask an operator for a new one/);
      assert.not(existsSync(thief.own('admin2', 'secrets.key')));
      // The one that has joined can let others in, and needs no token any more.
      await program.stop();
      const restarted = await other.start(lab, ...named);
      await readyOf(restarted.program);
      const next = await says(lab, restarted.server, 'servers', 'join-token', 'admin3', '--quiet');
      const third = await thief.start(lab, '--server-name', 'admin3', '--join-token', next);
      await readyOf(third.program);
    } finally {
      await thief.remove();
    }
  } finally {
    await other.remove();
    if (!lab.deployment.running('admin')) await lab.deployment.start('admin');
  }
});

testLab('a server joins by approval, follows the authority and is revoked', async (lab) => {
  const other = await machine();
  const first = lab.deployment.server;
  const serialOf = async () => (await serverOf(lab)).items.find(({ name }) => name === 'admin4');
  try {
    const { installation } = JSON.parse(await says(lab, first, 'servers', 'approve', '--json'));
    const named = ['--server-name', 'admin4', '--secrets-key-file', join(other.folder, 'brought.key')];
    const { program } = await other.start(lab, ...named, '--installation', installation);
    const line = await program.waitForLine(/pushpoint servers approve [0-9a-f-]{39}/);
    const fingerprint = /approve ([0-9a-f-]{39})/.exec(line)?.[1] ?? '';
    assert.match(
      await says(lab, first, 'servers', 'approve'),
      new RegExp(`${fingerprint} +admin4 .* this one`),
    );
    // Whoever means to let in a gateway lets in no server.
    assert.match(await says(lab, first, 'gateways', 'approve'), /No gateway waits for approval/);
    assert.match(await says(lab, first, 'servers', 'approve', fingerprint), /Approved server admin4/);
    await readyOf(program);
    assert.ok(existsSync(join(other.folder, 'brought.key')));

    const before = (await serialOf())?.certificate.serial;
    await lab.operator.api.request('POST', '/v1/authority/rotate');
    await waitFor(async () => (await serialOf())?.certificate.serial !== before, { timeoutMs: 60_000 });
    const waits = async () => (await lab.operator.api.get<AuthorityView>('/v1/authority')).waitingFor;
    await waitFor(async () => (await waits()).length === 0, { timeoutMs: 60_000 });
    await lab.operator.api.request('POST', '/v1/authority/rollback');
    assert.ok(program.running, 'it took the certificate up without a restart');

    assert.match(await says(lab, first, 'servers', 'revoke', 'admin4'), /Revoked server admin4: [12] cert/);
    assert.is((await program.exited).code, 3, program.output);
    assert.match(program.lines.at(-1) ?? '', /The certificate of server admin4 was revoked: join again/);
    assert.not(existsSync(other.own('admin4', 'identity.json')));
    assert.match(await says(lab, first, 'servers'), /admin4 +revoked /);
    const restarted = await other.start(lab, ...named);
    assert.is((await restarted.program.exited).code, 2, restarted.program.output);
  } finally {
    await other.remove();
  }
});

test.after(() => rm(shared, { recursive: true, force: true }));
test.run();
