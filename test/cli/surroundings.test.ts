// time limit: 300 s
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Exit, Program, startCli } from '../services/processes.ts';
import { freePort, waitFor } from '../wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'surroundings-'));
const main = new URL('../../cli/main.js', import.meta.url).pathname;
const programs: Program[] = [];

function run(...args: string[]): Program {
  const program = startCli(args, { cwd: folder });
  programs.push(program);
  return program;
}

test.after.each(async () => {
  for (const program of programs.splice(0).reverse()) await program.stop();
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** `start` and a device that lets tunnels through to a port that nobody listens on. */
async function deploymentWithDevice(name: string) {
  const data = join(folder, name);
  const ports = ['--api-port', '0', '--port', '0', '--metrics-port', '0', '--host', '127.0.0.1'];
  const server = run('start', ...ports, '--data-dir', data);
  const { api } = JSON.parse((await server.waitForLine(/^ready /, 30_000)).slice('ready '.length));
  const at = ['--server', api, '--token-file', join(data, 'admin-token')];
  const port = await freePort();
  const config = join(folder, `${name}.yaml`);
  writeFileSync(config, `tunnels: { allow: [${port}] }\n`);
  const state = join(folder, `${name}-state`);
  const startAgent = async () => {
    const token = await run('enroll-token', '--quiet', ...at).waitForLine(/\S/);
    return run('agent', '--server', api, '--token', token, '--state', state, '--config', config);
  };
  const agent = await startAgent();
  const { device } = JSON.parse((await agent.waitForLine(/^ready /, 30_000)).slice('ready '.length));
  return { api, at, port, device, agent, startAgent };
}

test('tunnel --stdio ends with a sentence, and its tunnel too, when nothing listens', async () => {
  const { at, port, device } = await deploymentWithDevice('stdio');
  const command = [process.execPath, main, 'tunnel', device, String(port), '--stdio', ...at].join(' ');
  for (const redirection of ['| cat', '2>&1 | cat', '</dev/null | cat']) {
    const shell = new Program('/bin/sh', ['-c', `${command} ${redirection}`], {});
    programs.push(shell);
    await shell.exited;
    assert.match(shell.output, /^The connection was cut: .*ECONNREFUSED$/);
  }
  await waitFor(async () => {
    const list = run('tunnels', 'list', '--json', ...at);
    await list.exited;
    const { items } = JSON.parse(list.output) as { items: { state: string }[] };
    return items.length === 3 && items.every(({ state }) => state === 'ended');
  });
});

test('an agent that gateways refuse for good does not say that it is ready', async () => {
  const { at, device, agent, startAgent } = await deploymentWithDevice('refused');
  await agent.stop();
  const deleted = run('devices', 'delete', device, '--yes', ...at);
  await deleted.exited;
  const refused = await startAgent();
  assert.is((await refused.exited).code, 7, refused.output);
  assert.not.match(refused.output, /^ready /m);
  assert.match(refused.output, new RegExp(`Device ${device} was deleted`));
});

test('an agent whose gateways do not answer is ready: it goes on trying', async () => {
  const { agent } = await deploymentWithDevice('alone');
  await agent.stop();
  await programs[0]?.kill();
  const again = run('agent', '--server', 'http://127.0.0.1:1', '--state', join(folder, 'alone-state'));
  await again.waitForLine(/^ready /, 30_000);
});

const START = ['start', '--api-port', '0', '--port', '0', '--metrics-port', '0'];
const ADMIN = ['admin', '--api-port', '0', '--redis-url', 'redis://127.0.0.1:1'];
const AGENT = ['agent', '--server', 'http://127.0.0.1:1', '--token', 'x'];

async function refusedWith(program: Program, sentence: RegExp): Promise<void> {
  const exit: Exit = await program.exited;
  assert.equal(exit, { code: 2, signal: null }, program.output);
  const said = program.lines.filter((line) => !line.startsWith('{'));
  assert.is(said.length, 1, program.output);
  assert.match(said[0] ?? '', sentence);
}

test('a data folder that is a file or cannot be made is refused at once, in a sentence', async () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  const cases: [string, RegExp][] = [
    [file, /is not a folder: name one$/],
    [join(file, 'below'), /cannot be made: a part of the path is a file \(ENOTDIR\)$/],
    ['/dev/null', /is not a folder: name one$/],
    // Where a file system makes nothing, Node.js tries for ever.
    ['/proc/x', /cannot be made: .* \(E[A-Z]+\)$/],
    ['/proc/x/y', /cannot be made: .* \(E[A-Z]+\)$/],
  ];
  for (const [path, sentence] of cases) {
    await refusedWith(run(...START, '--data-dir', path), sentence);
    await refusedWith(run(...ADMIN, '--data-dir', path), sentence);
    await refusedWith(run(...AGENT, '--state', path), sentence);
  }
  await refusedWith(
    run(...START, '--data-dir', join(folder, 'fine'), '--ready-file', '/proc/x/y'),
    /^--ready-file: .* cannot be written/,
  );
});

test('a data folder that this user may not write is refused in a sentence', async () => {
  const path = join(folder, 'closed');
  mkdirSync(path);
  chmodSync(path, 0o555);
  chmodSync(folder, 0o755);
  if (process.getuid?.() !== 0) {
    await refusedWith(run(...START, '--data-dir', path), /cannot be written: this user may not/);
    return;
  }
  for (const args of [
    [...START, '--data-dir', path],
    [...AGENT, '--state', path],
  ]) {
    const words = ['--reuid', '65534', '--clear-groups', process.execPath, main, ...args];
    const program = new Program('setpriv', words, { cwd: folder });
    programs.push(program);
    await refusedWith(program, /cannot be written: this user may not \(EACCES\)$/);
  }
});

test.run();
