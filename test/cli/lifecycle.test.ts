import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT } from '../../cli/exit-codes.ts';
import { Assembly, type Part, runUntilSignal } from '../../cli/programs/lifecycle.ts';
import { sayReady } from '../../cli/programs/ready.ts';
import { startFile } from '../services/processes.ts';
import { waitFor } from '../wait.ts';
import { testShell } from './small-server.ts';

function scene(parts: Record<string, Partial<Pick<Part, 'start' | 'stop'>>>) {
  const done: string[] = [];
  const log = { info: () => {}, error: (_: object, message: string) => done.push(`error: ${message}`) };
  const list = Object.entries(parts).map(([name, { start, stop }]) => ({
    name,
    start: async () => {
      done.push(`start ${name}`);
      await start?.();
    },
    stop: async () => {
      done.push(`stop ${name}`);
      await stop?.();
    },
  }));
  const shell = testShell();
  const exits: number[] = [];
  const run = (over = {}) =>
    runUntilSignal({
      shell,
      log,
      assembly: new Assembly(list, log),
      stopDeadlineMs: 5_000,
      onReady: () => void done.push('ready'),
      exitNow: (code) => void exits.push(code),
      watchdog: () => {},
      ...over,
    });
  return { done, shell, exits, run };
}

test('parts start in order, and at a signal stop in reverse; that is exit code 0', async () => {
  const { done, shell, run } = scene({ a: {}, b: {} });
  const running = run();
  await waitFor(() => done.includes('ready'));
  shell.interrupt();
  assert.is(await running, 0);
  assert.equal(done, ['start a', 'start b', 'ready', 'stop b', 'stop a']);
});

test('if a part cannot start, the started ones stop and the cause is shown without a stack', async () => {
  const fail = async () => {
    throw Object.assign(new Error('listen'), { code: 'EADDRINUSE', port: 8080, address: '127.0.0.1' });
  };
  const { done, run } = scene({ a: {}, b: { start: fail }, c: {} });
  let error: unknown;
  await run().catch((caught) => {
    error = caught;
  });
  assert.match((error as Error).message, /^Cannot start: port 8080 of 127\.0\.0\.1 is in use already/);
  assert.equal(done, ['start a', 'start b', 'stop b', 'stop a']);
});

test('a signal during a slow start ends it', async () => {
  let stopped: () => void = () => {};
  const slow = new Promise<void>((_, reject) => {
    stopped = () => reject(new Error('stopped while starting'));
  });
  const { done, shell, run } = scene({ a: {}, b: { start: () => slow, stop: async () => stopped() }, c: {} });
  const running = run();
  await waitFor(() => done.includes('start b'));
  shell.interrupt();
  assert.is(await running, 0);
  assert.equal(done, ['start a', 'start b', 'stop b', 'stop a']);
});

test('a stop waits for parts that are starting or that their start creates later', async () => {
  let begun: () => void = () => {};
  const slow = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const { done, shell, run } = scene({ a: {}, b: { start: () => slow } });
  const running = run();
  await waitFor(() => done.includes('start b'));
  shell.interrupt();
  await waitFor(() => done.includes('stop b'));
  assert.not(done.includes('stop a'), 'what b still uses');
  begun();
  assert.is(await running, 0);
  assert.equal(done, ['start a', 'start b', 'stop b', 'stop a']);
});

test('a process that stays alive after its stop, or whose main thread hangs, is ended', async () => {
  for (const [program, end] of [
    ['keepsOpen', { code: 0, signal: null }],
    ['hangs', { code: null, signal: 'SIGKILL' }],
  ] as const) {
    const child = startFile('test/cli/stubborn-program.js', [program]);
    await child.waitForLine('ready');
    // Not by `stop`, which would kill it itself.
    await child.kill('SIGTERM');
    assert.equal(await child.exited, end, child.output);
    await child.stop();
  }
});

test('a second signal, and a stop beyond its deadline, end the process at once', async () => {
  let release: () => void = () => {};
  const stuck = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { done, shell, exits, run } = scene({ a: { stop: () => stuck } });
  const running = run({ stopDeadlineMs: 30 });
  await waitFor(() => done.includes('ready'));
  shell.interrupt();
  shell.interrupt();
  assert.equal(exits, [130]);
  await waitFor(() => exits.length === 2);
  assert.equal(exits, [130, 1]);
  release();
  await running;
});

test('a part that fails to stop does not keep the others running, and sets the exit code', async () => {
  const fail = async () => {
    throw new Error('stuck');
  };
  const { done, shell, run } = scene({ a: {}, b: { stop: fail } });
  const running = run();
  await waitFor(() => done.includes('ready'));
  shell.interrupt();
  assert.is(await running, 1);
  assert.equal(done.slice(-3), ['stop b', 'error: part did not stop in order', 'stop a']);
});

test('a program whose part gives up ends by itself, with the exit code and the words it gives', async () => {
  const { run, shell } = scene({ a: {} });
  assert.is(await run({ failed: Promise.resolve({ reason: 'not admitted', code: EXIT.notAdmitted }) }), 7);
  assert.is(shell.err, 'not admitted\n');
});

test('ready is one line with JSON, and the ready file appears whole', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-ready-'));
  const path = join(folder, 'ready.json');
  const shell = testShell();
  const facts = { program: 'admin', pid: 1, apiPort: 8080 };
  sayReady(shell, facts, ['prose'], path);
  assert.is(shell.out, `ready ${JSON.stringify(facts)}\n`);
  assert.equal(JSON.parse(readFileSync(path, 'utf8')), facts);
  assert.equal(readdirSync(folder), ['ready.json']);
  rmSync(folder, { recursive: true });
});

test.run();
