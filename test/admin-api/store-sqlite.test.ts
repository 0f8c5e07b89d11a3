// time limit: 240 s
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DatabaseSync } from '@photostructure/sqlite';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../../admin-api/store/open-store.ts';
import { SQLITE_MIGRATIONS } from '../../admin-api/store/sql/migrations/sqlite.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { StoreUnavailable } from '../../admin-api/store/store.ts';
import { storeContract } from './store-contract.ts';
import { rejects, T0 } from './store-fixtures.ts';

const log = pino({ level: 'silent' });
const folders: string[] = [];
const stores: Store[] = [];

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'store-'));
  folders.push(made);
  return path.join(made, 'data');
}

async function open(dataDir: string): Promise<Store> {
  const store = openStore({ dataDir, checkNesting: true, log });
  stores.push(store);
  await store.start();
  return store;
}

function startWriter(dataDir: string, prefix: string) {
  const script = fileURLToPath(new URL('./store-writer.js', import.meta.url));
  return spawn(process.execPath, [script, dataDir, prefix], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function cleanUp(): Promise<void> {
  for (const store of stores.splice(0)) await store.stop();
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
}

storeContract('SQLite', { fresh: () => open(folder()), second: async (store) => store, cleanUp });

test.after.each(cleanUp);

test('only the owner can read the folder and the file', async () => {
  const dataDir = folder();
  await open(dataDir);
  assert.is(statSync(dataDir).mode & 0o777, 0o700);
  assert.is(statSync(path.join(dataDir, 'pushpoint.db')).mode & 0o777, 0o600);
});

test('a database that a newer version migrated is refused and left unchanged', async () => {
  const dataDir = folder();
  await (await open(dataDir)).stop();
  const file = path.join(dataDir, 'pushpoint.db');
  const database = new DatabaseSync(file);
  database.exec("insert into migrations (number, name, applied_at) values (999, 'later', 0)");
  database.close();
  await rejects(open(dataDir), (error) => assert.match(error.message, /newer version/));
});

test('a database from before draining is migrated, and keeps what was in it', async () => {
  const dataDir = folder();
  mkdirSync(dataDir, { recursive: true });
  const database = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
  const [first] = SQLITE_MIGRATIONS;
  for (const statement of first?.statements ?? []) database.exec(statement);
  database.exec(`create table migrations
      (number integer primary key, name text not null, applied_at bigint not null);
    insert into migrations values (1, 'first', 0);
    insert into gateways values ('gw1', 'all', 1, 13295, 'ws://gw1:13295', 10, 7, 1, 2)`);
  database.close();
  const store = await open(dataDir);
  const gateway = await store.gateways.get('gw1');
  assert.equal([gateway?.revision, gateway?.drainingSince, gateway?.drainedAt], [7, null, null]);
  assert.is((await store.gateways.setDraining('gw1', T0, T0))?.drainingSince, T0);
});

test('names that operators gave before that was kept with the device are kept from devices', async () => {
  const dataDir = folder();
  mkdirSync(dataDir, { recursive: true });
  const database = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
  database.exec(
    'create table migrations (number integer primary key, name text not null, applied_at bigint not null)',
  );
  for (const { number, statements } of SQLITE_MIGRATIONS.slice(0, 6)) {
    for (const statement of statements) database.exec(statement);
    database.exec(`insert into migrations values (${number}, '', 0)`);
  }
  for (const [id, actor] of [
    ['by-operator', 'alice'],
    ['by-itself', 'system'],
  ] as const) {
    database.exec(`insert into devices (id, group_id, name, search, platform, software, public_key,
        membership_revision, created_at, session, connected, caps_json)
      values ('${id}', 'all', 'till', 'till', '', '', x'${Buffer.from(id).toString('hex')}',
        1, 0, 0, 0, '[]');
      insert into audit (at, actor, action, subject, detail_json)
      values (0, '${actor}', 'device.renamed', '${id}', '{}')`);
  }
  database.close();
  const store = await open(dataDir);
  const renamed = await store.devices.applyNames(
    ['by-operator', 'by-itself'].map((device) => ({ device, name: 'called so by itself' })),
  );
  assert.equal(
    renamed.map(({ device }) => device),
    ['by-itself'],
  );
  assert.is((await store.devices.get('by-operator'))?.name, 'till');
});

test('two servers that start at once on a new file both start', async () => {
  const dataDir = folder();
  const children = [startWriter(dataDir, 'a'), startWriter(dataDir, 'b')];
  const firstLines = children.map((child) => once(createInterface({ input: child.stdout }), 'line'));
  const ends = children.map((child) =>
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`exit code ${code}`))),
  );
  await Promise.race([Promise.all(firstLines), ...ends]);
  for (const child of children) {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
  const store = await open(dataDir);
  assert.is((await store.commands.getMany(['a1', 'b1'])).length, 2);
});

test('a file another process holds is unavailable, not broken', async () => {
  const dataDir = folder();
  const store = await open(dataDir);
  const database = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
  database.exec('begin exclusive');
  await rejects(store.meta.set('k', 'v'), (error) => assert.instance(error, StoreUnavailable));
  database.exec('rollback');
  database.close();
  await store.meta.set('k', 'v');
});

test('everything reported as committed is there after kill -9', async () => {
  const dataDir = folder();
  const child = startWriter(dataDir, 'c');
  const committed: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    committed.push(Number(line));
    if (committed.length === 300) child.kill('SIGKILL');
  }
  const store = await open(dataDir);
  const events = new Set((await store.events.after(0, 100_000)).map((event) => event.data));
  assert.ok(committed.length >= 300);
  for (const number of committed) {
    assert.ok(events.has(number), `event ${number}`);
    const command = await store.commands.get(`c${number}`);
    assert.is(command?.issuedAt, T0, `command ${number}`);
  }
  // Nothing half-done either: each event came with its command.
  for (const number of events) assert.ok(await store.commands.get(`c${number}`));
});

test.run();
