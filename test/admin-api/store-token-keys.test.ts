/** Databases whose enrolment tokens are hashes of secrets, from before they were keys. */
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

const NAME = 'enrolment tokens are keys';
const FAR = 4_000_000_000_000;

/** The database as the version before left it; `hash` as its dialect writes binary. */
function statementsBefore(migrations: readonly Migration[], hash: (fill: string) => string): string[] {
  const { number: at = 0 } = migrations.find(({ name }) => name === NAME) ?? {};
  const token = (id: string, revokedAt: number | null) =>
    `insert into enrolment_tokens (id, hash, group_id, note, uses_left, uses_max, expires_at, created_at,
      created_by, revoked_at) values ('${id}', ${hash(id)}, 'all', 'n', 2, 3, ${FAR}, 1, 't', ${revokedAt})`;
  return [
    'create table migrations (number integer primary key, name text not null, applied_at bigint not null)',
    ...migrations
      .filter(({ number }) => number < at)
      .flatMap(({ number, statements }) => [
        ...statements,
        `insert into migrations values (${number}, '', 0)`,
      ]),
    token('e1', null),
    token('e2', 7),
  ];
}

async function holdsTheRules(store: Store): Promise<void> {
  await store.start();
  try {
    const good = await store.enrolmentTokens.get('e1');
    assert.equal([good?.publicKey, good?.usesLeft, good?.note], [null, 2, 'n']);
    assert.ok((good?.revokedAt ?? 0) > 1_700_000_000_000);
    assert.is((await store.enrolmentTokens.get('e2'))?.revokedAt, 7);
    assert.equal(await store.enrolmentTokens.use('e1', 50), { refused: 'revoked' });
    const told = (await store.audit.list({ limit: 100 })).items;
    assert.equal(
      told.map(({ subject, actor, action }) => `${actor} ${action} ${subject}`),
      ['system enrolment-token.revoked e1'],
    );
    assert.match(JSON.stringify(told), /create it again/);
    const token = { ...(good as NonNullable<typeof good>), id: 'e3', publicKey: new Uint8Array(32).fill(1) };
    await store.enrolmentTokens.create({ ...token, revokedAt: null });
    assert.equal((await store.enrolmentTokens.get('e3'))?.publicKey, token.publicKey);
  } finally {
    await store.stop();
  }
}

const log = pino({ level: 'silent' });

test('SQLite: tokens from before they were keys are revoked, and the audit trail says so', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tokens-'));
  const dataDir = path.join(folder, 'data');
  mkdirSync(dataDir);
  const database = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
  const hash = (fill: string) => `x'${Buffer.from(fill).toString('hex')}'`;
  for (const statement of statementsBefore(SQLITE_MIGRATIONS, hash)) database.exec(statement);
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
    const hash = (fill: string) => `'${fill}'::bytea`;
    for (const statement of statementsBefore(POSTGRES_MIGRATIONS, hash)) await client.query(statement);
    await client.end();
    await holdsTheRules(openStore({ databaseUrl, poolSize: 2, checkNesting: true, log }));
  } finally {
    await server.stop();
  }
});

test.run();
