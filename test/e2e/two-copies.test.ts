import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../../cli/run.ts';
import { testShell } from '../cli/small-server.ts';
import { type Program, startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';

interface Context {
  folder: string;
  server: Program;
  api: string;
  env: Record<string, string>;
}

const test = suite<Context>('what devices say of themselves');

test.before(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'pushpoint-copies-'));
  const args = ['start', '--api-port', '0', '--port', '0', '--host', '127.0.0.1'];
  context.server = startCli([...args, '--data-dir', join(context.folder, 'data')]);
  const ready = JSON.parse((await context.server.waitForLine(/^ready/, 30_000)).slice('ready '.length));
  context.api = ready.api;
  context.env = { PUSHPOINT_SERVER: ready.api, PUSHPOINT_TOKEN_FILE: ready.tokenFile };
});

test.after(async ({ folder, server }) => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function pushpoint({ env }: Context, ...args: string[]): Promise<string> {
  const shell = testShell(env);
  assert.is(await run(args, shell), 0, shell.err);
  return shell.out;
}

interface Shown {
  id: string;
  name: string;
  state: string;
  displaced: { sessions: number } | null;
  cloned: { runs: { run: string }[] } | null;
}

async function shown(context: Context, id: string): Promise<Shown> {
  return JSON.parse(await pushpoint(context, 'devices', 'show', id, '--json'));
}

function agent({ api }: Context, state: string, ...flags: string[]): Program {
  return startCli(['agent', '--server', api, '--state', state, ...flags]);
}

const connected = (program: Program) => program.waitForLine(/"msg":"connected"/, 30_000);
const idOf = async (program: Program): Promise<string> =>
  JSON.parse((await program.waitForLine(/^ready/)).slice('ready '.length)).device;

test('H-9, H-12: a copied state folder is reported, proven, and split', async (context) => {
  const [one, two] = [join(context.folder, 'one'), join(context.folder, 'two')];
  const token = (await pushpoint(context, 'enroll-token', '--quiet')).trim();
  const first = agent(context, one, '--token', token);
  await connected(first);
  const id = await idOf(first);
  assert.is((await shown(context, id)).displaced, null);
  cpSync(one, two, { recursive: true });
  rmSync(join(two, 'lock'), { force: true });
  const second = agent(context, two);
  await waitFor(async () => ((await shown(context, id)).displaced?.sessions ?? 0) >= 2, {
    timeoutMs: 60_000,
    intervalMs: 300,
    what: 'the server to notice',
  });
  assert.match(
    await pushpoint(context, 'devices', 'show', id),
    /Copies\s+two programs use this device's key/,
  );
  const metrics = await (await fetch(`${context.api}/metrics`)).text();
  assert.ok(Number(/^pushpoint_admin_sessions_displaced_total (\d+)/m.exec(metrics)?.[1]) >= 2, metrics);
  const events = startCli(['events', '--after', '0', '--type', 'device.displaced'], { env: context.env });
  await events.waitForLine(new RegExp(`device.displaced.*${id}|${id}.*device.displaced`), 30_000);
  for (const program of [first, second]) assert.match(program.output, /another program uses the same key/);
  await events.stop();
  await waitFor(async () => (await shown(context, id)).cloned !== null, {
    timeoutMs: 120_000,
    intervalMs: 500,
    what: 'both copies to answer',
  });
  const runs = (await shown(context, id)).cloned?.runs ?? [];
  assert.is(new Set(runs.map(({ run }) => run)).size, 2);
  assert.match(await pushpoint(context, 'devices', 'show', id), /Cloned\s+two programs with its key/);
  const fresh = (await pushpoint(context, 'devices', 'split', id, '--yes')).trim();
  for (const program of [first, second]) assert.is((await program.exited).code, 7, program.output);
  const third = agent(context, join(context.folder, 'three'), '--token', fresh);
  await connected(third);
  assert.is.not(await idOf(third), id);
  await third.stop();
  await second.stop();
  await first.stop();
});

test('E-5: a new name is taken over, until an operator names the device', async (context) => {
  const state = join(context.folder, 'named');
  const token = (await pushpoint(context, 'enroll-token', '--quiet')).trim();
  const named = async (name: string, wanted: string) => {
    const program = agent(context, state, '--token', token, '--name', name);
    await connected(program);
    const id = await idOf(program);
    await waitFor(
      async () => {
        const device = await shown(context, id);
        return device.state === 'connected' && device.name === wanted;
      },
      { intervalMs: 100, what: `the name ${wanted}` },
    );
    await program.stop();
    return id;
  };
  const id = await named('till-1', 'till-1');
  assert.is(await named('till-2', 'till-2'), id);
  assert.is(await named('till-1', 'till-1'), id, 'back again');
  await pushpoint(context, 'devices', 'rename', id, 'front desk');
  assert.is(await named('till-3', 'front desk'), id);
});

test.run();
