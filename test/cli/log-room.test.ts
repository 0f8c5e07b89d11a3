// time limit: 240 s
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LogSink } from '../../cli/programs/log-sink.ts';
import { joinFlags } from '../deployment/flags.ts';
import { type ProgramOptions, startCli } from '../services/processes.ts';
import { startRedis } from '../services/redis.ts';
import { freePort, waitFor } from '../wait.ts';

interface Context {
  folder: string;
}

const test = suite<Context>('no room for the log');

test.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'pushpoint-log-room-'));
});

test.after(({ folder }) => rmSync(folder, { recursive: true, force: true }));

/** The write end of a pipe whose read end is closed. */
async function brokenPipe(): Promise<{ fd: number; close(): void }> {
  const fifo = join(mkdtempSync(join(tmpdir(), 'pushpoint-fifo-')), 'pipe');
  await once(spawn('mkfifo', [fifo]), 'exit');
  const [reader, fd] = await Promise.all([
    new Promise<number>((resolve) => setImmediate(() => resolve(openSync(fifo, 'r+')))),
    new Promise<number>((resolve) => setTimeout(() => resolve(openSync(fifo, 'w')), 50)),
  ]);
  closeSync(reader);
  return {
    fd,
    close() {
      closeSync(fd);
      rmSync(join(fifo, '..'), { recursive: true });
    },
  };
}

async function dropped(url: string): Promise<number> {
  const text = await (await fetch(url)).text();
  const lines = [...text.matchAll(/^pushpoint_log_lines_dropped_total(?:\{.*\})? (\d+)/gm)];
  return lines.reduce((sum, [, count]) => sum + Number(count), 0);
}

/** All programs serve with such a stderr, and a device gets its command. */
async function serves(folder: string, stderr: number): Promise<void> {
  const redis = await startRedis();
  const [gatewayPort, metricsPort] = [await freePort(), await freePort()];
  const options: ProgramOptions = { stderr, env: { REDIS_URL: redis.url, PUSHPOINT_LOG_LEVEL: 'debug' } };
  const admin = startCli(
    ['admin', '--api-port', '0', '--data-dir', join(folder, 'data'), '--join-tokens', 'gw1'],
    options,
  );
  const gateway = startCli(
    [
      ...['gateway', '--name', 'gw1', '--host', '127.0.0.1', '--workers', '2'],
      ...['--port', String(gatewayPort), '--metrics-port', String(metricsPort)],
      ...['--address', `ws://127.0.0.1:${gatewayPort}`, ...joinFlags('gw1', join(folder, 'data'))],
    ],
    options,
  );
  const programs = [gateway, admin];
  try {
    const facts = JSON.parse((await admin.waitForLine(/^ready/, 30_000)).slice(6));
    await gateway.waitForLine(/^ready/, 30_000);
    const env = { PUSHPOINT_SERVER: facts.api, PUSHPOINT_TOKEN_FILE: facts.tokenFile };
    const cli = async (...args: string[]) => {
      const program = startCli(args, { env, stderr });
      const { code } = await program.exited;
      await program.stop();
      assert.is(code, 0, `${args.join(' ')}: ${program.output}`);
      return program.output;
    };
    const token = await cli('enroll-token', '--quiet');
    const agent = startCli(['agent', '--state', join(folder, 'agent')], {
      stderr,
      env: { PUSHPOINT_SERVER: facts.api, PUSHPOINT_ENROLMENT_TOKEN: token },
    });
    programs.unshift(agent);
    await agent.waitForLine(/^ready/, 30_000);
    const connected = async () => {
      const { items } = JSON.parse(await cli('devices', 'list', '--json'));
      return items[0]?.state === 'connected';
    };
    await waitFor(connected, { intervalMs: 500, what: 'the device to be connected' });
    await cli('sync', '--all', '--wait', '--wait-timeout', '60s');
    assert.ok((await dropped(`http://127.0.0.1:${metricsPort}/metrics`)) > 0);
    assert.ok((await dropped(`${facts.api}/metrics`)) > 0);
  } finally {
    const ends = [];
    for (const program of programs) ends.push((await program.stop(60_000)).code);
    await redis.stop();
    assert.equal(ends, [0, 0, 0]);
  }
}

test('with a full disk under the log everything serves on and stops in order', async ({ folder }) => {
  const full = openSync('/dev/full', 'w');
  await serves(join(folder, 'full'), full).finally(() => closeSync(full));
});

test('with a log that nobody reads any more everything serves on and stops in order', async ({ folder }) => {
  const pipe = await brokenPipe();
  await serves(join(folder, 'broken'), pipe.fd).finally(() => pipe.close());
});

test('a slow reader gets the kept lines, and the number of lost ones', async ({ folder }) => {
  const fifo = join(folder, 'slow');
  await once(spawn('mkfifo', [fifo]), 'exit');
  const fd = openSync(fifo, 'r+');
  const sink = new LogSink(fd, 100_000);
  const line = `${JSON.stringify({ msg: 'x'.repeat(900) })}\n`;
  for (let count = 0; count < 1_000; count++) sink.write(line);
  assert.ok(sink.dropped > 500 && sink.dropped < 950, String(sink.dropped));
  const before = sink.dropped;
  const reader = spawn('cat', [fifo]);
  let text = '';
  reader.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await waitFor(() => text.split('\n').length > 1_000 - before);
  sink.write('{"msg":"after"}\n');
  await waitFor(() => text.includes('after'));
  const told = text.split('\n').filter((each) => each.includes('were dropped'));
  assert.equal(
    told.map((each) => JSON.parse(each).lines),
    [before],
  );
  reader.kill();
  closeSync(fd);
});

test('once there is room again the log says how many lines were dropped', ({ folder }) => {
  const path = join(folder, 'log');
  writeFileSync(path, '');
  const fd = openSync('/dev/full', 'w');
  const sink = new LogSink(fd);
  sink.write('{"msg":"one"}\n');
  sink.write('{"msg":"two"}\n');
  assert.is(sink.dropped, 2);
  // The same descriptor on a file with room.
  closeSync(fd);
  assert.is(openSync(path, 'a'), fd);
  sink.write('{"msg":"three"}\n');
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  assert.is(JSON.parse(lines[0] ?? '').lines, 2);
  assert.is(lines[1], '{"msg":"three"}');
  closeSync(fd);
});

test.run();
