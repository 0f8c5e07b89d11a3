// time limit: 480 s
import { sql } from 'kysely';
import pg from 'pg';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../../admin-api/store/open-store.ts';
import { postgresDialect } from '../../admin-api/store/sql/dialect-postgres.ts';
import { postgresAddress } from '../../admin-api/store/sql/postgres-url.ts';
import { startPgBouncer } from '../services/pgbouncer.ts';
import { startPostgres } from '../services/postgres.ts';
import { waitFor } from '../wait.ts';
import { OpenedStores } from './opened-stores.ts';
import { storeContract } from './store-contract.ts';
import { rejects } from './store-fixtures.ts';

const log = pino({ level: 'silent' });
const server = await startPostgres({ fsync: false, settings: ['max_connections=300'] });
const bouncer = await startPgBouncer(server);
const stores = new OpenedStores(8, log);
const { open } = stores;

// By the direct way: a copy can only be made of a database that nobody is connected to.
const migrated = await server.createDatabase();
const direct = openStore({ databaseUrl: migrated, poolSize: 1, log });
await direct.start();
await direct.stop();

storeContract('PostgreSQL behind PgBouncer in transaction mode', {
  fresh: async () => open(bouncer.through(await server.createDatabase(migrated))),
  second: stores.second,
  cleanUp: stores.stop,
});

test.after.each(stores.stop);
test.after(async () => {
  await bouncer.stop();
  await server.stop();
});

test('servers that start at once on an empty database by way of PgBouncer all start', async () => {
  const url = bouncer.through(await server.createDatabase());
  const all = await Promise.all([open(url), open(url), open(url)]);
  for (const store of all) assert.is((await store.groups.get('all'))?.path, 'all/');
});

for (const [mode, settings] of [
  ['refuses', {}],
  ['drops', { ignore_startup_parameters: 'statement_timeout,idle_in_transaction_session_timeout' }],
] as const) {
  test(`statements and transactions have time limits if a pooler ${mode} them at startup`, async () => {
    const own = await startPgBouncer(server, settings);
    const address = postgresAddress(own.through(await server.createDatabase()), {});
    const db = await postgresDialect({ address, poolSize: 4, statementTimeoutMs: 300, log }).open();
    const timedOut = (error: Error) =>
      assert.match(error.message, /canceling statement due to statement timeout/);
    try {
      await rejects(sql`select pg_sleep(60)`.execute(db), timedOut);
      await rejects(
        db.transaction().execute((tx) => sql`select pg_sleep(60)`.execute(tx)),
        timedOut,
      );
      const shown = await db
        .transaction()
        .execute((tx) => sql<{ setting: string }>`show idle_in_transaction_session_timeout`.execute(tx));
      assert.equal(Object.values(shown.rows[0] ?? {}), ['300ms']);
      // Nothing of it stays with the server for whoever gets it next.
      const client = new pg.Client({ connectionString: own.through(server.url) });
      await client.connect();
      assert.equal((await client.query('show statement_timeout')).rows, [{ statement_timeout: '0' }]);
      await client.end();
    } finally {
      await db.destroy();
      await own.stop();
    }
  });
}

test('a statement that fails outside a transaction leaves the connection usable', async () => {
  const address = postgresAddress(bouncer.through(await server.createDatabase()), {});
  const db = await postgresDialect({ address, poolSize: 1, statementTimeoutMs: 5_000, log }).open();
  await rejects(sql`select 1/0`.execute(db), (error) => assert.match(error.message, /division by zero/));
  assert.equal((await sql`select 7 as n`.execute(db)).rows, [{ n: 7 }]);
  await db.destroy();
});

test('more work at once than the pooler has servers for is done', async () => {
  const store = await open(bouncer.through(await server.createDatabase(migrated)));
  let done = 0;
  await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      await store.transaction((tx) => tx.meta.set(`k${i}`, 'v'));
      done++;
    }),
  );
  await waitFor(() => done === 200);
  assert.is((await store.meta.list('k')).length, 200);
});

test.run();
