// time limit: 420 s
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tooOld } from '../../cli/node-version.ts';
import { ROOT, read } from '../deploy/deploy-files.ts';
import { joinFlags } from '../deployment/flags.ts';
import { nodeVersion } from '../services/node-version.ts';
import { Program, startCli } from '../services/processes.ts';
import { startRedis } from '../services/redis.ts';

const main = new URL('../../cli/main.js', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'node-versions-'));
const programs: Program[] = [];

/** Runs the command with another Node.js; with ours when `node` is absent. */
function run(node: string | undefined, ...args: string[]): Program {
  const program =
    node === undefined
      ? startCli(args, { cwd: folder })
      : new Program(node, [main, ...args], { cwd: folder });
  programs.push(program);
  return program;
}

const facts = async (program: Program) =>
  JSON.parse((await program.waitForLine(/^ready /, 60_000)).slice('ready '.length));

async function ends(program: Program): Promise<string> {
  assert.equal(await program.exited, { code: 0, signal: null }, program.output);
  return program.output;
}

test.after.each(async () => {
  for (const program of programs.splice(0).reverse()) await program.stop();
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

for (const version of ['22.23.5', '24.22.3']) {
  test(`Node.js ${version} runs server, agent and commands; a gateway works or says why not`, async () => {
    const node = await nodeVersion(version);
    if (node === undefined) {
      console.log(`no Node.js ${version} for this machine: not tried`);
      return;
    }
    assert.is(execFileSync(node, ['--version']).toString().trim(), `v${version}`);
    const redis = await startRedis();
    try {
      const data = join(folder, version);
      const admin = run(
        node,
        ...['admin', '--api-port', '0', '--data-dir', data, '--redis-url', redis.url, '--join-tokens', 'gw1'],
      );
      const { api } = await facts(admin);
      const flags = ['--name', 'gw1', '--workers', '1', '--port', '0', '--metrics-port', '0'];
      const reach = ['--address', 'ws://127.0.0.1:0', '--redis-url', redis.url, ...joinFlags('gw1', data)];
      const gateway = run(node, 'gateway', ...flags, ...reach);
      const serves = await facts(gateway).then(
        () => true,
        () => false,
      );
      if (!serves) {
        assert.is((await gateway.exited).code, 2, gateway.output);
        assert.is(gateway.lines.length, 1, gateway.output);
        assert.match(gateway.output, `uWebSockets.js) does not load in Node.js ${version}. It needs glibc `);
        const start = run(node, 'start', '--data-dir', join(folder, `start-${version}`));
        assert.is((await start.exited).code, 2, start.output);
        assert.match(start.output, 'Cannot start: the gateway');
        await facts(run(undefined, 'gateway', ...flags, ...reach));
      }
      const at = ['--server', api, '--token-file', join(data, 'admin-token')];
      const token = (await ends(run(node, 'enroll-token', '--quiet', ...at))).trim();
      const config = join(folder, `${version}.yaml`);
      writeFileSync(config, 'tasks: { quick: { command: /bin/echo, args: [done] } }\n');
      const state = join(folder, `agent-${version}`);
      await facts(
        run(node, 'agent', '--server', api, '--token', token, '--state', state, '--config', config),
      );
      assert.match(await ends(run(node, 'sync', '--all', '--wait', ...at)), /1 succeeded/);
      assert.match(await ends(run(node, 'task', 'start', 'quick', '--all', '--wait', ...at)), /1 succeeded/);
      await ends(run(node, 'status', ...at));
      assert.equal(await admin.stop(), { code: 0, signal: null });
    } finally {
      for (const program of programs.splice(0).reverse()) await program.stop();
      await redis.stop();
    }
  });
}

test('an old Node.js reports which version is needed, before anything else is loaded', async () => {
  const preload = join(folder, 'older.cjs');
  const older =
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.1' } });";
  writeFileSync(preload, older);
  const program = new Program(process.execPath, ['--require', preload, main, 'status'], {});
  programs.push(program);
  assert.is((await program.exited).code, 2);
  assert.is(program.output, tooOld('18.20.1'));
  assert.match(program.output, /needs Node\.js 20\.19 or later .* and this is 18\.20\.1/);
  assert.ok(tooOld('20.18.3'));
  assert.is(tooOld('20.19.0'), null);
  assert.is(tooOld('24.0.0'), null);
});

test('what the package says it needs is what the command checks and the README tells', () => {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    engines: { node: string };
  };
  assert.is(engines.node, '^20.19.0 || ^22.12.0 || ^24.0.0');
  assert.match(read('README.md'), /needs Node\.js 20\.19, 22\.12, 24 /);
});

test.run();
