/** Databases in which groups with one name are siblings, from before that was refused. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import pg from 'pg';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Migration } from '../../admin-api/store/sql/migrations/migration.ts';
import { POSTGRES_MIGRATIONS } from '../../admin-api/store/sql/migrations/postgres.ts';
import { SQLITE_MIGRATIONS } from '../../admin-api/store/sql/migrations/sqlite.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { startPostgres } from '../services/postgres.ts';
import { refused } from './store-contract-inventory.ts';

const LONG = 'x'.repeat(128);
/** Id, parent, name, when it was made; and the name it has afterwards. */
const GROUPS = [
  ['berlin', 'all', 'Berlin', 20, 'Berlin (2)'],
  ['oldest', 'all', 'Berlin', 10, 'Berlin'],
  ['newest', 'all', 'Berlin', 30, 'Berlin (3)'],
  ['below', 'berlin', 'Berlin', 40, 'Berlin'],
  ['two', 'all', 'Paris', 20, 'Paris (2) (two)'],
  ['one', 'all', 'Paris', 10, 'Paris'],
  ['taken', 'all', 'Paris (2)', 5, 'Paris (2)'],
  ['long1', 'all', LONG, 10, LONG],
  ['long2', 'all', LONG, 11, `${'x'.repeat(124)} (2)`],
] as const;

/** The database as the version before left it. */
function statementsBefore(migrations: readonly Migration[]): string[] {
  const before = migrations.filter(({ number }) => number < 9);
  return [
    'create table migrations (number integer primary key, name text not null, applied_at bigint not null)',
    ...before.flatMap(({ number, statements }) => [
      ...statements,
      `insert into migrations values (${number}, '', 0)`,
    ]),
    ...GROUPS.map(([id, parent, name, at]) => {
      const groupPath = parent === 'all' ? `all/${id}/` : `all/${parent}/${id}/`;
      return `insert into groups (id, parent_id, name, path, search, created_at)
        values ('${id}', '${parent}', '${name}', '${groupPath}', '${id} ${name.toLowerCase()}', ${at})`;
    }),
  ];
}

async function holdsTheRules(store: Store): Promise<void> {
  await store.start();
  try {
    const { items } = await store.groups.list({ limit: 100 });
    const names = new Map(items.map(({ id, name }) => [id, name]));
    for (const [id, , , , name] of GROUPS) assert.is(names.get(id), name);
    const told = (await store.audit.list({ limit: 100 })).items;
    assert.equal(
      told.map(({ subject, actor, action }) => `${actor} ${action} ${subject}`).sort(),
      ['berlin', 'long2', 'newest', 'two'].map((id) => `system group.renamed ${id}`),
    );
    const berlin = told.find(({ subject }) => subject === 'berlin');
    assert.equal(berlin?.detail, { name: 'Berlin (2)', before: 'Berlin' });
    assert.ok((berlin?.at ?? 0) > 1_700_000_000_000);
    assert.equal(
      (await store.groups.list({ limit: 9, text: 'berlin (3)' })).items.map(({ id }) => id),
      ['newest'],
    );
    await refused('conflict', () => store.groups.rename('newest', 'Berlin'));
  } finally {
    await store.stop();
  }
}

const log = pino({ level: 'silent' });

test('SQLite: the oldest of siblings with one name keeps it, the others get a suffix', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'siblings-'));
  const dataDir = path.join(folder, 'data');
  mkdirSync(dataDir);
  const database = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
  for (const statement of statementsBefore(SQLITE_MIGRATIONS)) database.exec(statement);
  database.close();
  await holdsTheRules(openStore({ dataDir, checkNesting: true, log }));
  rmSync(folder, { recursive: true });
});

test('PostgreSQL: the same', async () => {
  const server = await startPostgres({ fsync: false });
  try {
    const databaseUrl = await server.createDatabase();
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    for (const statement of statementsBefore(POSTGRES_MIGRATIONS)) await client.query(statement);
    await client.end();
    await holdsTheRules(openStore({ databaseUrl, poolSize: 2, checkNesting: true, log }));
  } finally {
    await server.stop();
  }
});

test.run();
