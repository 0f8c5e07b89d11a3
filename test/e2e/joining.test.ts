// time limit: 480 s
/** Gateways join and are revoked, as operators do it: real programs over a real Redis. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Program, startCli } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { freePort, waitFor } from '../wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'joining-e2e-'));
const programs: Program[] = [];
let redis: RedisServer;
let reach: string[];

function run(...args: string[]): Program {
  const program = startCli(args, { cwd: folder });
  programs.push(program);
  return program;
}

async function says(...args: string[]): Promise<string> {
  const program = run(...args, ...reach);
  const { code } = await program.exited;
  assert.is(code, 0, program.output);
  return program.lines.join('\n');
}

const facts = async (program: Program) =>
  JSON.parse((await program.waitForLine(/^ready /, 30_000)).slice('ready '.length));

function gateway(name: string, ...args: string[]): Program {
  return run(
    ...['gateway', '--name', name, '--host', '127.0.0.1', '--port', '0', '--metrics-port', '0'],
    ...['--address', 'ws://127.0.0.1:0', '--workers', '1', '--redis-url', redis.url],
    ...['--data-dir', join(folder, 'gateway-data'), ...args],
  );
}

const identityFile = (name: string) => join(folder, 'gateway-data', 'gateways', name, 'identity.json');
const serialOf = (name: string) => JSON.parse(readFileSync(identityFile(name), 'utf8')).serial as string;

test.before(async () => {
  redis = await startRedis();
  const api = ['--api-port', String(await freePort()), '--data-dir', join(folder, 'data')];
  const { api: server, tokenFile } = await facts(run('admin', ...api, '--redis-url', redis.url));
  reach = ['--server', server, '--token-file', tokenFile];
});
test.after(async () => {
  for (const program of programs.reverse()) await program.stop();
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('a gateway joins with a token in a file that comes later, and needs none after that', async () => {
  const file = join(folder, 'gw1.token');
  const first = gateway('gw1', '--join-token-file', file);
  await first.waitForLine(/does not exist yet/);
  writeFileSync(file, `${await says('gateways', 'join-token', 'gw1', '--quiet')}\n`);
  await facts(first);
  const serial = serialOf('gw1');
  await first.stop();
  const second = gateway('gw1');
  await facts(second);
  assert.is(serialOf('gw1'), serial);
  await second.stop();
  const used = gateway('gw1', '--join-token-file', file, '--data-dir', join(folder, 'other-data'));
  const { code } = await used.exited;
  assert.is(code, 3, used.output);
  assert.match(used.output, /Cannot start: The join token was used: ask an operator for a new one/);
  assert.not.match(used.output, new RegExp(readFileSync(file, 'utf8').trim()));
});

test('a gateway joins by approval, and is revoked', async () => {
  const { installation } = JSON.parse(await says('gateways', 'approve', '--json'));
  const program = gateway('gw2', '--installation', installation);
  const line = await program.waitForLine(/pushpoint gateways approve [0-9a-f-]{39}/);
  const fingerprint = /approve ([0-9a-f-]{39})/.exec(line)?.[1] ?? '';
  assert.match(await says('gateways', 'approve'), new RegExp(`${fingerprint} +gw2 .* this one`));
  assert.match(await says('gateways', 'approve', fingerprint), /Approved gateway gw2/);
  await facts(program);
  await waitFor(async () =>
    /"state":"up"/.test((await says('gateways', 'show', 'gw2', '--json')).replace(/\s/g, '')),
  );
  assert.match(await says('gateways', 'revoke', 'gw2'), /Revoked gateway gw2: 1 certificate\./);
  await waitFor(async () =>
    /"state":"down"/.test((await says('gateways', 'show', 'gw2', '--json')).replace(/\s/g, '')),
  );
  assert.match(await says('gateways', 'show', 'gw2'), /certificates were revoked/);
  // It is told so, signed, and stops for good.
  assert.is((await program.exited).code, 3, program.output);
  assert.match(program.lines.at(-1) ?? '', /The certificate of gateway gw2 was revoked: join again/);
  assert.not(existsSync(identityFile('gw2')));
  const restarted = gateway('gw2');
  assert.is((await restarted.exited).code, 2, restarted.output);
  assert.match(restarted.output, /has no valid certificate: start it with --join-token/);
  assert.not.match(await says('status'), /were refused/);
});

test('a gateway whose name another one took stops as well', async () => {
  const start = async (data: string) => {
    const file = join(folder, `${data}.token`);
    writeFileSync(file, await says('gateways', 'join-token', 'gw5', '--quiet'));
    return gateway('gw5', '--join-token-file', file, '--data-dir', join(folder, data));
  };
  const former = await start('former');
  await facts(former);
  let next = await start('next');
  assert.is((await former.exited).code, 3, former.output);
  assert.match(former.lines.at(-1) ?? '', /The certificate of gateway gw5 was revoked/);
  // On one machine, the port may have been taken still, which ends the newcomer.
  const ended = await Promise.race([next.exited, facts(next).then(() => null)]);
  if (ended) {
    assert.is(ended.code, 1, next.output);
    next = gateway('gw5', '--data-dir', join(folder, 'next'));
    await facts(next);
  }
  await waitFor(async () =>
    /"state":"up"/.test((await says('gateways', 'show', 'gw5', '--json')).replace(/\s/g, '')),
  );
  assert.is((await next.stop()).code, 0);
});

test('a rotation of the authority waits until the gateway has taken up its next certificate', async () => {
  const file = join(folder, 'gw4.token');
  writeFileSync(file, await says('gateways', 'join-token', 'gw4', '--quiet'));
  const program = gateway('gw4', '--join-token-file', file);
  await facts(program);
  const before = serialOf('gw4');
  assert.match(await says('pki', 'rotate'), /trusted, and not used yet/);
  await program.waitForLine(/the certificate was renewed/, 30_000);
  assert.is.not(serialOf('gw4'), before);
  const noneWaits = async () => JSON.parse(await says('pki', 'show', '--json')).waitingFor.length === 0;
  await waitFor(noneWaits, { timeoutMs: 30_000 });
  const trusted = serialOf('gw4');
  assert.match(await says('pki', 'advance'), /The next authority signs/);
  await waitFor(() => serialOf('gw4') !== trusted, { timeoutMs: 30_000 });
  await waitFor(noneWaits, { timeoutMs: 30_000 });
  assert.match(await says('pki', 'advance'), /No rotation is under way/);
  await program.stop();
});

test('an invalid token or fingerprint keeps a gateway from starting', async () => {
  for (const wrong of [
    ['--join-token', 'ppg1.x'],
    ['--installation', 'x'],
  ]) {
    const program = gateway('gw3', ...wrong);
    const { code } = await program.exited;
    assert.is(code, 2, program.output);
    assert.match(program.output, /is no join token|expected the fingerprint/);
  }
});

test.run();
