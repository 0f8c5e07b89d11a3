// time limit: 120 s

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'service-manager-'));
const main = new URL('../../cli/main.js', import.meta.url).pathname;
test.after(() => rmSync(folder, { recursive: true, force: true }));

const START = ['start', '--api-port', '0', '--port', '0', '--metrics-port', '0'];

test('a program tells systemd that it is ready, that it lives, and that it stops', async () => {
  const said = join(folder, 'said');
  writeFileSync(said, '');
  // In place of systemd's own, which needs a systemd to talk to.
  writeFileSync(join(folder, 'systemd-notify'), `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >>${said}\n`);
  chmodSync(join(folder, 'systemd-notify'), 0o755);
  const env = { PATH: `${folder}:${process.env.PATH}`, NOTIFY_SOCKET: '/run/here', WATCHDOG_USEC: '300000' };
  const program = startCli([...START, '--data-dir', join(folder, 'data')], { env });
  const heard = () => readFileSync(said, 'utf8').trim().split('\n');
  try {
    await program.waitForLine(/^ready /, 60_000);
    await waitFor(() => heard().filter((line) => line === '/run/here WATCHDOG=1').length > 1, {
      timeoutMs: 30_000,
    });
  } finally {
    await program.stop();
  }
  await waitFor(() => heard().includes('/run/here STOPPING=1'));
  assert.ok(heard().includes('/run/here READY=1'));
});

test('lines that go to the journal carry their priority, and no others', async () => {
  const lines = async (journal: boolean) => {
    const file = join(folder, `log-${journal}`);
    const fd = openSync(file, 'w');
    const { dev, ino } = statSync(file);
    const stream = journal ? `${dev}:${ino}` : `${dev}:${ino}1`;
    const args = [main, ...START, '--data-dir', join(folder, `journal-${journal}`)];
    const env = { ...process.env, JOURNAL_STREAM: stream };
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', fd], env });
    await once(child.stdout as NonNullable<typeof child.stdout>, 'data');
    child.kill('SIGTERM');
    await once(child, 'exit');
    return readFileSync(file, 'utf8').trim().split('\n');
  };
  const toJournal = await lines(true);
  assert.ok(toJournal.length > 2);
  for (const line of toJournal) assert.match(line, /^(<6>\{"level":30,|<4>\{"level":40,)/);
  for (const line of await lines(false)) assert.match(line, /^\{"level":\d0,/);
});

test.run();
