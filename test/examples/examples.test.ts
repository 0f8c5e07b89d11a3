/** The programs in examples/, as they stand, against a real server; the page is in browser.test.ts. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { linkDevicePackage } from '../services/bundle.ts';
import { Program, startCli } from '../services/processes.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'examples-'));
let server: Program;
let api = '';
let token = '';
const started: Program[] = [];

test.before(async () => {
  // The examples import the package by its name, as people do.
  linkDevicePackage(folder);
  cpSync(join(ROOT, 'examples'), join(folder, 'examples'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const ports = ['--api-port', '0', '--port', '0', '--metrics-port', '0'];
  server = startCli(['start', ...ports], { cwd: folder });
  const ready = JSON.parse((await server.waitForLine(/^ready /)).slice('ready '.length));
  api = ready.api;
  token = readFileSync(join(folder, 'data', 'admin-token'), 'utf8').trim();
});

test.after(async () => {
  for (const program of started) await program.stop();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs `pushpoint` as an operator; its output. */
async function operator(...args: string[]): Promise<string> {
  const program = startCli([...args, '--server', api], { cwd: folder });
  const { code } = await program.exited;
  const said = program.lines.join('\n');
  assert.is(code, 0, said);
  return said;
}

async function example(file: string, env: Record<string, string> = {}): Promise<Program> {
  const enrolment = (await operator('enroll-token', '--quiet')).trim();
  const program = new Program(process.execPath, [join('examples', file)], {
    cwd: folder,
    env: { PUSHPOINT_SERVER: api, PUSHPOINT_ENROLMENT_TOKEN: enrolment, PUSHPOINT_TOKEN: token, ...env },
  });
  started.push(program);
  return program;
}

test('node-device: syncs, answers messages, refuses what it does not know, and stops in order', async () => {
  const device = await example('node-device/device.js', { STATE: join(folder, 'one') });
  const id = (await device.waitForLine(/^device \w+$/)).split(' ')[1] ?? '';
  await device.waitForLine(/^connected to /);
  assert.match(await operator('sync', '--device', id, '--wait', '--json'), /"revision":\s*"1"/);
  assert.match(await operator('sync', '--device', id, '--full', '--wait', '--json'), /"revision":\s*"2"/);
  assert.ok(JSON.parse(readFileSync(join(folder, 'one/policy.json'), 'utf8')).fetched);
  const shouted = await operator('message', 'shout', '--body', '"hello"', '--device', id, '--wait', '--json');
  assert.match(shouted, /"HELLO"/);
  const unknown = startCli(['message', 'sing', '--device', id, '--wait', '--server', api], { cwd: folder });
  assert.is((await unknown.exited).code, 5);
  assert.match(unknown.lines.join('\n'), /no such topic: sing/);
  assert.is((await device.stop()).code, 0);
});

test('in-a-service: serves its page, tells its figures, clears its cache', async () => {
  const service = await example('in-a-service/service.js', { STATE: join(folder, 'two'), PORT: '0' });
  const line = await service.waitForLine(/^device \w+, service on port \d+$/);
  const [, id = '', port = ''] = /^device (\S+), service on port (\d+)/.exec(line) ?? [];
  assert.match(await (await fetch(`http://127.0.0.1:${port}/a`)).text(), /Hello from \/a/);
  assert.match(
    await operator('stats', '--device', id, '--wait', '--json'),
    /"requests":\s*1.*"cached":\s*1/s,
  );
  const cleared = await operator('message', 'clear-cache', '--device', id, '--wait', '--json');
  assert.match(cleared, /"cleared":\s*1/);
  assert.is((await service.stop()).code, 0);
});

test('in-a-service: a service whose push server is away keeps serving', async () => {
  const service = await example('in-a-service/service.js', {
    STATE: join(folder, 'three'),
    PORT: '0',
    PUSHPOINT_SERVER: 'http://127.0.0.1:9',
  });
  await service.waitForLine(/^without push: /);
  assert.is((await service.stop()).code, 0);
});

test('operator-script: ends with 0 when all succeeded, else with 1 and what did not', async () => {
  const device = await example('node-device/device.js', { STATE: join(folder, 'one') });
  await device.waitForLine(/^connected to /);
  const group = JSON.parse(await operator('groups', 'create', 'nightly', '--json')).id;
  const id = (await device.waitForLine(/^device \w+$/)).split(' ')[1] ?? '';
  await operator('devices', 'move', id, group);
  const script = new Program(process.execPath, ['examples/operator-script/nightly-sync.js', group], {
    cwd: folder,
    env: { PUSHPOINT_SERVER: api, PUSHPOINT_TOKEN: token },
  });
  assert.is((await script.exited).code, 0, script.lines.join('\n'));
  assert.ok(script.lines.includes('1 of 1 succeeded'), script.lines.join('\n'));
  const refused = new Program(
    process.execPath,
    ['examples/operator-script/nightly-sync.js', 'no-such-group'],
    {
      cwd: folder,
      env: { PUSHPOINT_SERVER: api, PUSHPOINT_TOKEN: token },
    },
  );
  assert.is((await refused.exited).code, 1);
  assert.match(refused.lines.join('\n'), /unknown-reference/);
  await device.stop();
});

test.run();
