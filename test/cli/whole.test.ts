import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../../cli/run.ts';
import { type Program, startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';
import { testShell } from './small-server.ts';

interface Context {
  folder: string;
  server: Program;
  agent: Program;
  env: Record<string, string>;
}

const test = suite<Context>('the command against the real thing');

async function pushpoint({ env }: Context, ...args: string[]) {
  const shell = testShell(env);
  const code = await run(args, shell);
  return { code, out: shell.out, err: shell.err, json: () => JSON.parse(shell.out) };
}

const readyFacts = async (program: Program): Promise<Record<string, unknown>> =>
  JSON.parse((await program.waitForLine(/^ready \{/, 30_000)).slice('ready '.length));

test.before(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'pushpoint-whole-'));
  const dataDir = join(context.folder, 'data');
  const args = ['start', '--api-port', '0', '--port', '0', '--host', '127.0.0.1', '--data-dir', dataDir];
  context.server = startCli([...args, '--ready-file', join(context.folder, 'ready.json')]);
  const ready = await readyFacts(context.server);
  assert.equal(JSON.parse(readFileSync(join(context.folder, 'ready.json'), 'utf8')), ready);
  context.env = {
    PUSHPOINT_SERVER: String(ready.api),
    PUSHPOINT_TOKEN_FILE: String(ready.tokenFile),
  };

  const config = join(context.folder, 'agent.yaml');
  writeFileSync(config, 'tasks:\n  backup: { command: sleep, args: ["600"] }\n');
  const token = await pushpoint(context, 'enroll-token', '--quiet');
  assert.is(token.code, 0, token.err);
  context.agent = startCli(['agent', '--config', config, '--state', join(context.folder, 'agent')], {
    env: { PUSHPOINT_SERVER: String(ready.api), PUSHPOINT_ENROLMENT_TOKEN: token.out.trim() },
  });
  await readyFacts(context.agent);
});

test.after(async ({ folder, server, agent }) => {
  await agent?.stop();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('the first token is in a file for its owner only', ({ env }) => {
  assert.is(statSync(env.PUSHPOINT_TOKEN_FILE ?? '').mode & 0o777, 0o600);
});

test('a forced sync of all is followed to its end', async (context) => {
  const sync = await pushpoint(context, 'sync', '--all', '--wait', '--wait-timeout', '30s');
  assert.is(sync.code, 0, sync.err);
  assert.match(sync.out, /finished: 1 succeeded/);
});

test('a task is started, seen, and stopped', async (context) => {
  const start = await pushpoint(context, 'task', 'start', 'backup', '--all', '--json');
  const { id } = start.json();
  await waitFor(
    async () => (await pushpoint(context, 'commands', 'show', id, '--json')).json().counts.running === 1,
    { what: 'the task to run' },
  );
  const stop = await pushpoint(context, 'task', 'stop', 'backup', '--all', '--wait');
  assert.is(stop.code, 0, stop.err);
  assert.is((await pushpoint(context, 'commands', 'wait', id)).code, 5, 'stopped, so it did not succeed');
});

test('what a device refuses is exit code 5, with the reason', async (context) => {
  const refused = await pushpoint(context, 'task', 'start', 'nosuch', '--all', '--wait');
  assert.is(refused.code, 5, refused.err);
  assert.match(refused.out, /rejected/);
});

test('statistics come back with the figures', async (context) => {
  const stats = await pushpoint(context, 'stats', '--all', '--wait', '--json');
  assert.is(stats.code, 0, stats.err);
  assert.type(stats.json().executions[0].data.uptimeSeconds, 'number');
});

test('devices are moved, blocked, asked about and found by name', async (context) => {
  assert.is((await pushpoint(context, 'groups', 'create', 'Berlin', '--id', 'berlin')).code, 0);
  const device = (await pushpoint(context, 'devices', '--json')).json().items[0];
  assert.is((await pushpoint(context, 'devices', 'rename', device.id, 'till 7')).code, 0);
  const moved = await pushpoint(context, 'devices', 'move', 'till 7', 'Berlin', '--json');
  assert.is(moved.json().groupId, 'berlin');
  await pushpoint(context, 'devices', 'block', 'till 7');
  const sync = await pushpoint(context, 'sync', '--group', 'berlin', '--json');
  const why = await pushpoint(context, 'devices', 'why', 'till 7', sync.json().id);
  assert.is(why.code, 0, why.err);
  assert.ok(why.out.trim().length > 10, why.out);
  assert.is((await pushpoint(context, 'commands', 'cancel', sync.json().id)).code, 0);
  assert.is((await pushpoint(context, 'commands', 'wait', sync.json().id)).code, 5);
});

test('gateways show their load and take settings', async (context) => {
  const [gateway] = (await pushpoint(context, 'gateways', '--json')).json().items;
  assert.is(gateway.state, 'up');
  const set = await pushpoint(context, 'gateways', 'set', gateway.name, '--limit', '100', '--json');
  assert.is(set.json().connectionLimit, 100);
});

test('tokens have roles: a viewer may look and not command', async (context) => {
  const { out } = await pushpoint(context, 'tokens', 'create', 'looker', '--role', 'viewer', '--quiet');
  const viewer = { ...context, env: { ...context.env, PUSHPOINT_TOKEN: out.trim() } };
  assert.is((await pushpoint(viewer, 'devices')).code, 0);
  assert.is((await pushpoint(viewer, 'sync', '--all')).code, 3);
});

test('unknown things and wrong tokens are exit code 3', async (context) => {
  assert.is((await pushpoint(context, 'commands', 'show', 'nosuch')).code, 3);
  assert.is((await pushpoint(context, 'devices', 'show', 'no such device')).code, 3);
  const stranger = { ...context, env: { ...context.env, PUSHPOINT_TOKEN: `ppt_${'x'.repeat(32)}` } };
  assert.is((await pushpoint(stranger, 'status')).code, 3);
});

test('every list is answered', async (context) => {
  for (const list of ['commands', 'devices', 'groups', 'gateways', 'tokens', 'status', 'enroll-token list']) {
    const { code, err } = await pushpoint(context, ...list.split(' '));
    assert.is(code, 0, `${list}: ${err}`);
  }
});

test('a blocked agent stays and says so; a deleted one ends by itself and says why', async (context) => {
  const { agent } = context;
  await agent.waitForLine('is blocked');
  assert.match(agent.output, /`pushpoint devices unblock`/);
  await pushpoint(context, 'devices', 'unblock', 'till 7');
  await pushpoint(context, 'devices', 'delete', 'till 7', '--yes');
  await agent.stop();
  const state = join(context.folder, 'agent');
  const again = startCli(['agent', '--config', join(context.folder, 'agent.yaml'), '--state', state]);
  assert.is((await again.exited).code, 7, again.output);
  assert.match(again.output, /Device \S+ was deleted/);
});

test('SIGTERM ends the server in order, with exit code 0', async ({ server }) => {
  process.kill(server.pid, 'SIGTERM');
  assert.equal(await server.exited, { code: 0, signal: null }, server.output);
});

test.run();
