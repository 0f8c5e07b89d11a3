// time limit: 480 s
import pg from 'pg';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TokenService } from '../../admin-api/services/token-service.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import { postgresDialect } from '../../admin-api/store/sql/dialect-postgres.ts';
import { postgresAddress } from '../../admin-api/store/sql/postgres-url.ts';
import { sqlStore } from '../../admin-api/store/sql-store.ts';
import { type Store, StoreUnavailable } from '../../admin-api/store/store.ts';
import { startPostgres } from '../services/postgres.ts';
import { waitFor } from '../wait.ts';
import { OpenedStores } from './opened-stores.ts';
import { storeContract } from './store-contract.ts';
import { addCommand, rejects, T0 } from './store-fixtures.ts';

const log = pino({ level: 'silent' });
const server = await startPostgres({ fsync: false });
const stores = new OpenedStores(4, log);
const { open } = stores;

// Migrated once and copied for each rule: migrating takes longer than most of them.
const migrated = await server.createDatabase();
await (await open(migrated)).stop();

storeContract('PostgreSQL', {
  fresh: async () => open(await server.createDatabase(migrated)),
  second: stores.second,
  cleanUp: stores.stop,
});

test.after.each(stores.stop);
test.after(() => server.stop());

test('a database that a newer version migrated is refused', async () => {
  const url = await server.createDatabase();
  await (await open(url)).stop();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("insert into migrations (number, name, applied_at) values (999, 'later', 0)");
  await client.end();
  await rejects(open(url), (error) => assert.match(error.message, /newer version/));
});

test('two servers that start at once on an empty database both start', async () => {
  const url = await server.createDatabase();
  const both = await Promise.all([open(url), open(url), open(url)]);
  for (const store of both) assert.is((await store.groups.get('all'))?.path, 'all/');
});

test('a step of the schema may take longer than any statement may later', async () => {
  const databaseUrl = await server.createDatabase(migrated);
  const address = postgresAddress(databaseUrl);
  // Answers are waited for 600 ms at most, outside of migrating.
  const options = {
    address: { ...address, connectTimeoutMs: 500 },
    poolSize: 2,
    statementTimeoutMs: 100,
    log,
  };
  const dialect = postgresDialect(options);
  const number = dialect.migrations.length + 1;
  const slow = { number, name: 'slow', statements: ['select pg_sleep(1)'] };
  const store = sqlStore({ ...dialect, migrations: [...dialect.migrations, slow] }, Date.now, true);
  stores.add(store, databaseUrl);
  await store.start();
  assert.is((await store.groups.get('all'))?.path, 'all/');
});

test('servers that start at once on an empty database make one admin token between them', async () => {
  const url = await server.createDatabase(migrated);
  const all = await Promise.all([open(url), open(url), open(url)]);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const waiting = async () => {
    const { rows } = await client.query("select 1 from pg_locks where locktype = 'advisory' and not granted");
    return rows.length;
  };
  const kept: string[] = [];
  const keep = async (token: string) => {
    kept.push(token);
    // Until the others have come as far, or can come no further.
    await waitFor(async () => kept.length + (await waiting()) >= all.length, { what: 'the other servers' });
  };
  await Promise.all(all.map((store) => new TokenService({ store, now: () => T0 }).ensureFirst(keep)));
  await client.end();
  assert.is(kept.length, 1);
  assert.is((await (all[0] as Store).apiTokens.list({ limit: 10 })).items.length, 1);
});

test('a transaction that deadlocks with another is run again', async () => {
  const url = await server.createDatabase();
  const [one, two] = await Promise.all([open(url), open(url)]);
  await one.meta.set('a', '');
  await one.meta.set('b', '');
  let runs = 0;
  let both = 0;
  const bump = (store: Store, first: string, second: string) =>
    store.transaction(async (tx) => {
      runs++;
      await tx.meta.set(first, store === one ? 'one' : 'two');
      both++;
      await waitFor(() => both >= 2, { what: 'both hold one row' });
      await tx.meta.set(second, store === one ? 'one' : 'two');
    });
  await Promise.all([bump(one, 'a', 'b'), bump(two, 'b', 'a')]);
  assert.is(runs, 3);
  assert.is(one.conflicts() + two.conflicts(), 1, 'counted');
  assert.is(await one.meta.get('a'), await one.meta.get('b'));
});

test('transactions that append events before and after their rows do not deadlock', async () => {
  const url = await server.createDatabase(migrated);
  const [one, two] = await Promise.all([open(url), open(url)]);
  await one.meta.set('row', '');
  const event = { at: T0, type: 'test', data: {} };
  let [appended, locked, runs] = [false, false, 0];
  await Promise.all([
    one.transaction(async (tx) => {
      runs++;
      await tx.events.append([event]);
      appended = true;
      await waitFor(() => locked, { what: 'the row to be locked' });
      await tx.meta.set('row', 'one');
    }),
    two.transaction(async (tx) => {
      runs++;
      await tx.meta.set('row', 'two');
      locked = true;
      await waitFor(() => appended, { what: 'the event' });
      await tx.events.append([event]);
    }),
  ]);
  assert.equal([runs, one.conflicts(), two.conflicts()], [2, 0, 0]);
  assert.is((await one.events.after(0, 10)).filter(({ type }) => type === 'test').length, 2);
});

test('a caller that asks for free commands skips one that another transaction is changing', async () => {
  const store = await open(await server.createDatabase(migrated));
  for (const id of ['c1', 'c2']) await addCommand(store, id, { target: { devices: [] } });
  await store.transaction(async (tx) => {
    await tx.commands.requestCancel('c1', T0);
    const elsewhere = await stores.second(store);
    assert.equal(await elsewhere.commands.finishIfDone(['c1', 'c2'], T0, 'free'), ['c2']);
  });
  assert.equal(await store.commands.finishIfDone(['c1', 'c2'], T0, 'free'), ['c1']);
});

test('a store reports that its database is down, and has every commit once it is back', async () => {
  const store = await open(await server.createDatabase());
  await store.meta.set('k', 'v');
  await server.kill();
  const unavailable = (error: unknown) => assert.instance(error, StoreUnavailable, String(error));
  await rejects(store.meta.get('k'), unavailable);
  await rejects(
    store.transaction((tx) => tx.meta.set('k', 'w')),
    unavailable,
  );
  await server.restart();
  await waitFor(async () => (await store.meta.get('k').catch(() => null)) === 'v', {
    what: 'the store is back',
  });
});

test('a database that cannot be reached at start is unavailable', async () => {
  const store = openStore({ databaseUrl: 'postgres://x@127.0.0.1:1/x', log });
  await rejects(store.start(), (error) => assert.instance(error, StoreUnavailable));
});

test.run();
