// time limit: 180 s
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type PostgresOptions, type PostgresServer, startPostgres } from '../services/postgres.ts';
import { startCli } from '../services/processes.ts';
import { startRedis } from '../services/redis.ts';
import { SmallDisk } from '../services/small-disk.ts';
import { waitFor } from '../wait.ts';

/** Far more than an answer takes, far less than any time limit of the database. */
const AT_ONCE_MS = 4_000;
/** What a command takes at least: a page of its own. */
const LARGE = 'x'.repeat(20_000);

interface Answer {
  status: number;
  ms: number;
  text: string;
}

/** An administration server on a PostgreSQL, and its API. */
async function withServer(
  options: PostgresOptions,
  use: (parts: {
    postgres: PostgresServer;
    call: (method: string, path: string, body?: unknown) => Promise<Answer>;
    command: () => Promise<Answer>;
    log: () => string;
  }) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'database-full-'));
  const postgres = await startPostgres(options);
  const redis = await startRedis();
  const url = await postgres.createDatabase();
  const args = ['--data-dir', folder, '--api-port', '0', '--redis-url', redis.url, '--database-url', url];
  const admin = startCli(['admin', ...args]);
  try {
    const ready = await admin.waitForLine(/^ready /, 30_000);
    const { api } = JSON.parse(ready.slice('ready '.length)) as { api: string };
    const token = readFileSync(join(folder, 'admin-token'), 'utf8').trim();
    const call = async (method: string, path: string, body?: unknown) => {
      const begun = performance.now();
      const response = await fetch(`${api}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, ms: performance.now() - begun, text };
    };
    const command = () =>
      call('POST', '/v1/commands', {
        ...{ type: 'message', target: { all: true } },
        args: { topic: 'news', body: LARGE },
      });
    await use({ postgres, call, command, log: () => admin.output });
  } finally {
    await admin.stop();
    await redis.stop();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

test('if the disk of PostgreSQL is full, changes fail at once, reads work, and /ready says so', async () => {
  const mounted = mkdtempSync(join(tmpdir(), 'small-'));
  const disk = await SmallDisk.mount(mounted);
  if (disk === undefined) {
    console.log('no right to mount a file system: not tried');
    return;
  }
  try {
    await chmod(mounted, 0o755);
    await withServer({ under: mounted, fsync: false }, async ({ call, command }) => {
      assert.is((await command()).status, 202);
      await disk.fill();
      await waitFor(async () => (await command()).status === 503, { what: 'the disk to be full' });
      await waitFor(async () => (await call('GET', '/ready')).status === 503, { what: '/ready to say so' });
      assert.match((await call('GET', '/ready')).text, /"store":\{"ok":false.*No space left/);
      const refused = await Promise.all(Array.from({ length: 50 }, command));
      for (const { status, ms } of refused) {
        assert.is(status, 503);
        assert.ok(ms < AT_ONCE_MS, `${ms} ms`);
      }
      assert.is((await call('GET', '/v1/commands')).status, 200);
      await disk.free();
      await waitFor(async () => (await call('GET', '/ready')).status === 200, { what: 'the room' });
      assert.is((await command()).status, 202);
    });
  } finally {
    await disk.unmount();
    rmSync(mounted, { recursive: true, force: true });
  }
});

test('while PostgreSQL never finishes changes no request hangs: they get 503', async () => {
  await withServer({ fsync: false }, async ({ postgres, call, command, log }) => {
    assert.is((await command()).status, 202);
    const client = new pg.Client({ connectionString: postgres.url });
    await client.connect();
    // A synchronous replica that is not there: every commit waits for it.
    const replica = (name: string) =>
      client
        .query(`alter system set synchronous_standby_names = '${name}'`)
        .then(() => client.query('select pg_reload_conf()'));
    await replica('nobody');
    const first = await waitFor(async () => {
      const answer = await command();
      return answer.status === 503 ? answer : undefined;
    });
    assert.ok(first.ms < 15_000, `${first.ms} ms`);
    const second = await command();
    assert.is(second.status, 503);
    assert.ok(second.ms < AT_ONCE_MS, `${second.ms} ms`);
    assert.is((await call('GET', '/v1/commands')).status, 200);
    assert.is((await call('GET', '/ready')).status, 503);
    await replica('');
    await client.end();
    await waitFor(async () => (await call('GET', '/ready')).status === 200, { timeoutMs: 30_000 });
    assert.is((await command()).status, 202);
    // What came to its end after it was refused is no fault to be logged.
    assert.not.match(log(), /already sent/);
  });
});

test('a read-only PostgreSQL answers reads and refuses changes at once, and /ready says so', async () => {
  await withServer({ fsync: false }, async ({ postgres, call, command }) => {
    const client = new pg.Client({ connectionString: postgres.url });
    await client.connect();
    const readOnly = async (on: boolean) => {
      await client.query(`alter system set default_transaction_read_only = ${on}`);
      await client.query('select pg_reload_conf()');
    };
    await readOnly(true);
    await waitFor(async () => (await command()).status === 503);
    await waitFor(async () => (await call('GET', '/ready')).status === 503);
    assert.match((await call('GET', '/ready')).text, /read-only transaction/);
    assert.is((await call('GET', '/v1/commands')).status, 200);
    await client.query('set default_transaction_read_only = off');
    await readOnly(false);
    await client.end();
    await waitFor(async () => (await call('GET', '/ready')).status === 200);
    assert.is((await command()).status, 202);
  });
});

test.run();
