/** What the agent knows of its tasks outside of itself: process groups, and records on disk. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs, { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { leftGroup, ProcessGroup, startOf } from '../../device/agent/process-group.ts';
import { TaskRecords } from '../../device/agent/task-records.ts';
import { until } from './until.ts';

test('all of /proc is read only when the member of a group that was seen last has gone', async () => {
  const { readdirSync } = fs;
  let scans = 0;
  fs.readdirSync = ((...args: Parameters<typeof readdirSync>) => {
    if (args[0] === '/proc') scans++;
    return readdirSync(...args);
  }) as typeof readdirSync;
  syncBuiltinESMExports();
  // A leader that ends with its input, and a member that stays.
  const child = spawn('/bin/sh', ['-c', 'sleep 600 </dev/null >/dev/null & echo; read line'], {
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const pgid = child.pid as number;
  const group = new ProcessGroup(pgid);
  try {
    await once(child.stdout, 'data');
    assert.not(group.empty);
    assert.is(leftGroup({ run: 'r1', pgid, start: startOf(pgid) }), pgid);
    assert.is(scans, 0, 'the leader lives');
    const exited = once(child, 'exit');
    child.stdin.end();
    await exited;
    for (let look = 0; look < 3; look++) assert.not(group.empty);
    assert.is(scans, 1, 'the other member is known after one scan');
    group.signal('SIGKILL');
    await until(() => group.empty, 'the group to be empty');
  } finally {
    fs.readdirSync = readdirSync;
    syncBuiltinESMExports();
    group.signal('SIGKILL');
  }
});

test('a record that could not be stored is as it was before', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-records-'));
  try {
    const records = new TaskRecords(folder);
    const first = { run: 'r1', task: 'work', command: 'c1', startedAt: 1 };
    const third = { ...first, run: 'r3' };
    records.put(first);
    // A full disk.
    symlinkSync('/dev/full', join(folder, 'tasks.json.new'));
    assert.throws(() => records.put({ ...first, run: 'r2' }), /ENOSPC/);
    assert.throws(() => records.put({ ...first, pgid: 5 }), /ENOSPC/);
    assert.equal(records.all(), [first]);
    rmSync(join(folder, 'tasks.json.new'));
    records.put(third);
    assert.equal(new TaskRecords(folder).all(), [first, third]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
