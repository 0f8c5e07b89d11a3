import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sqliteDialect } from '../../admin-api/store/sql/dialect-sqlite.ts';
import { sqlStore } from '../../admin-api/store/sql-store.ts';
import { addDevice, connect } from './store-fixtures.ts';

test('what only decides a later transaction is read before the disk has it; answers are not', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'pushpoint-ahead-'));
  let onDisk = Promise.resolve();
  const dialect = { ...sqliteDialect(path.join(folder, 'a.db')), durable: () => onDisk };
  const store = sqlStore(dialect, Date.now, true);
  try {
    await store.start();
    await addDevice(store, 'd1');
    let synced = () => {};
    onDisk = new Promise((resolve) => {
      synced = resolve;
    });
    const answered: string[] = [];
    const note = (what: string) => () => answered.push(what);
    const written = store.devices.applySessions([connect('d1', 7)]).then(note('transaction'));
    // Runs after it on the one connection.
    const read = store.devices.get('d1').then(note('query'));
    for (let turns = 0; (await store.devices.places(['d1']))[0]?.session !== 7; turns++) {
      assert.ok(turns < 1_000, 'the transaction does not run');
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await store.devices.generations(['d1']), new Map());
    await store.executions.sentByIncarnation();
    assert.equal(await store.commands.nextToExpand('c1', 1), []);
    assert.equal(answered, [], 'nobody is told what a power cut might take back');
    synced();
    await Promise.all([written, read]);
    assert.equal(answered.sort(), ['query', 'transaction']);
  } finally {
    await store.stop();
    await rm(folder, { recursive: true });
  }
});

test.run();
