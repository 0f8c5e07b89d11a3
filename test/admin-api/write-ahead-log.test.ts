import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Checkpoints } from '../../admin-api/store/sql/checkpoints.ts';
import { LogNotSynced, WriteAheadLog } from '../../admin-api/store/sql/write-ahead-log.ts';
import { rejects } from './store-fixtures.ts';

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'pushpoint-log-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function openDatabase(file: string) {
  const database = new DatabaseSync(file);
  database.exec(
    'pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = 1000000',
  );
  database.exec('create table numbers (n integer primary key, padding text)');
  return database;
}

test('after a sync that failed nobody is answered any more, also when the next would succeed', () =>
  inFolder(async (folder) => {
    const database = openDatabase(path.join(folder, 'a.db'));
    const file = path.join(folder, 'missing');
    const log = new WriteAheadLog(file, new Checkpoints(database, path.join(folder, 'a.db'), 1_000));
    await log.onDisk();
    log.committed();
    const refused = (error: Error) => {
      assert.instance(error, LogNotSynced);
      assert.match(error.message, /missing could not be synced \(ENOENT/);
    };
    await rejects(log.onDisk(), refused);
    await writeFile(file, '');
    log.committed();
    await rejects(log.onDisk(), refused);
    await log.close();
    database.close();
  }));

test('a log that cannot be copied back fails no commit', () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'a.db');
    const database = openDatabase(file);
    const checkpoints = new Checkpoints(database, file, 1);
    database.close();
    assert.throws(() => database.exec('pragma wal_checkpoint(noop)'));
    for (let commit = 0; commit < 100; commit++) checkpoints.committed();
    await checkpoints.close();
  }));

test('the log is checkpointed and restarted while transactions continue', () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'a.db');
    const database = openDatabase(file);
    const log = new WriteAheadLog(`${file}-wal`, new Checkpoints(database, file, 500));
    const insert = database.prepare('insert into numbers values (?, ?)');
    const look = database.prepare('pragma wal_checkpoint(noop)');
    let longest = 0;
    let restarts = 0;
    let count = 0;
    while (restarts < 3) {
      assert.ok(count < 200_000, 'the log is never begun again');
      database.exec('begin immediate');
      for (let row = 0; row < 20; row++) insert.run(count++, 'x'.repeat(1_000));
      database.exec('commit');
      log.committed();
      await log.onDisk();
      const { log: pages } = look.get() as { log: number };
      if (pages < longest) restarts++;
      longest = pages < longest ? 0 : pages;
    }
    await log.close();
    database.close();
    const reader = new DatabaseSync(file);
    assert.is((reader.prepare('select count(*) as n from numbers').get() as { n: number }).n, count);
    assert.is(
      (reader.prepare('pragma integrity_check').get() as { integrity_check: string }).integrity_check,
      'ok',
    );
    reader.close();
  }));

test.run();
