/** The identity of an installation, in the database. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { beginEpoch, loadInstallation } from '../../admin-api/installation.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { startPostgres } from '../services/postgres.ts';
import { T0 } from './store-fixtures.ts';

const log = pino({ level: 'silent' });

test('servers that start at once on an empty PostgreSQL are one installation', async () => {
  const server = await startPostgres({ fsync: false });
  const stores: Store[] = [];
  try {
    for (let round = 0; round < 5; round++) {
      const databaseUrl = await server.createDatabase();
      const both = await Promise.all(
        [1, 2, 3].map(async () => {
          const store = openStore({ databaseUrl, poolSize: 2, log });
          stores.push(store);
          await store.start();
          return loadInstallation(store.meta);
        }),
      );
      assert.equal(new Set(both.map(({ id }) => id)).size, 1);
      assert.equal(new Set(both.map(({ epoch }) => epoch)), new Set([1]));
    }
  } finally {
    for (const store of stores) await store.stop();
    await server.stop();
  }
});

test('the identity stays; a restored database begins an epoch later than any that was in use', async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'installation-'));
  const store = openStore({ dataDir, log });
  await store.start();
  try {
    const first = await loadInstallation(store.meta);
    assert.is(first.epoch, 1);
    assert.equal(await loadInstallation(store.meta), first);
    assert.equal(await beginEpoch(store, 0, T0), { id: first.id, epoch: 2 });
    assert.equal(await beginEpoch(store, 7, T0), { id: first.id, epoch: 8 });
    assert.equal(await loadInstallation(store.meta), { id: first.id, epoch: 8 });
    const [entry] = (await store.audit.list({ limit: 1 })).items;
    assert.equal([entry?.action, entry?.subject], ['installation.restored', first.id]);
  } finally {
    await store.stop();
    await rm(dataDir, { recursive: true });
  }
});

test.run();
