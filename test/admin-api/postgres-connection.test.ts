// time limit: 120 s
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../../admin-api/store/open-store.ts';
import { StoreUnavailable } from '../../admin-api/store/store.ts';
import { StoreSettingsError } from '../../admin-api/store/store-settings-error.ts';
import { Certificates } from '../../bus/tls/certificates.ts';
import { makeCertificates } from '../services/certificates.ts';
import { startPostgres } from '../services/postgres.ts';
import { waitFor } from '../wait.ts';
import { rejects } from './store-fixtures.ts';

const log = pino({ level: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'connection-'));
const own = await makeCertificates();
const foreign = await makeCertificates();
/** TLS and a password for `guarded`; `plain` may not use TLS, `sealed` must. */
const server = await startPostgres({
  fsync: false,
  tls: own,
  hba: [
    'host all guarded 127.0.0.1/32 scram-sha-256',
    'hostnossl all plain 127.0.0.1/32 trust',
    'hostssl all sealed 127.0.0.1/32 trust',
    'local all all trust',
  ],
});
const withoutTls = await startPostgres({ fsync: false });
await asOwner(
  "create role guarded login superuser password 'hunter2'",
  'create role plain login superuser',
  'create role sealed login superuser',
);

async function asOwner(...statements: string[]): Promise<void> {
  const client = new pg.Client({ host: server.socketFolder, port: server.port, user: 'postgres' });
  await client.connect();
  for (const statement of statements) await client.query(statement);
  await client.end();
}

/** Starts a store with this URL, and tells whether its connections are encrypted. */
async function tlsOf(url: string): Promise<boolean> {
  const store = openStore({ databaseUrl: url, poolSize: 1, log });
  await store.start();
  try {
    // A connection of its pool: the schema was looked after on one that is closed already.
    await store.devices.count({});
    const client = new pg.Client({ host: server.socketFolder, port: server.port, user: 'postgres' });
    await client.connect();
    const { rows } = await client.query(
      "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'pushpoint'",
    );
    await client.end();
    const encrypted = (rows as { ssl: boolean }[]).map(({ ssl }) => ssl);
    assert.ok(encrypted.length > 0 && new Set(encrypted).size === 1, `${encrypted}`);
    return encrypted[0] === true;
  } finally {
    await store.stop();
  }
}

const at = (user: string, more = '', host = '127.0.0.1') =>
  `postgres://${user}@${host}:${server.port}/postgres?application_name=pushpoint${more}`;
const start = (url: string) => openStore({ databaseUrl: url, poolSize: 1, log }).start();
const tells = (pattern: RegExp) => (error: Error) => {
  assert.instance(error, StoreSettingsError, String(error));
  assert.match(error.message, pattern);
  assert.not.match(error.message, /hunter2/);
};
const ca = `&sslrootcert=${encodeURIComponent(own.ca)}`;
const wrongCa = `&sslrootcert=${encodeURIComponent(foreign.ca)}`;

test.after(async () => {
  await server.stop();
  await withoutTls.stop();
  await own.remove();
  await foreign.remove();
  rmSync(folder, { recursive: true });
});

test('sslmode says as with libpq whether the connection is encrypted', async () => {
  assert.is(await tlsOf(at('sealed')), true);
  assert.is(await tlsOf(at('sealed', '&sslmode=allow')), true);
  assert.is(await tlsOf(at('plain', '&sslmode=allow')), false);
  assert.is(await tlsOf(at('plain', '&sslmode=prefer')), false);
  assert.is(await tlsOf(at('plain', '&sslmode=disable')), false);
  assert.is(await tlsOf(at('sealed', '&sslmode=require')), true);
});

test('require encrypts without asking whose certificate it is, unless an authority is named', async () => {
  await start(at('sealed', '&sslmode=require'));
  await start(at('sealed', `&sslmode=require${ca}`));
  await rejects(start(at('sealed', `&sslmode=require${wrongCa}`)), tells(/certificate is not accepted/));
});

test('verify-ca checks the authority, verify-full the name as well', async () => {
  await start(at('sealed', `&sslmode=verify-full${ca}`));
  await start(at('sealed', `&sslmode=verify-full${ca}`, 'localhost'));
  // Another way to write 127.0.0.1, which is not in the certificate.
  await start(at('sealed', `&sslmode=verify-ca${ca}`, '127.1'));
  await rejects(start(at('sealed', `&sslmode=verify-full${ca}`, '127.1')), tells(/not accepted/));
  await rejects(
    start(at('sealed', `&sslmode=verify-ca${wrongCa}`)),
    tells(/not accepted with sslmode=verify-ca/),
  );
  await rejects(start(at('sealed', `&sslmode=verify-full${wrongCa}`)), tells(/verify-full/));
  await rejects(
    start(at('sealed', '&sslmode=verify-full&sslrootcert=/no/such')),
    tells(/\/no\/such does not exist/),
  );
  process.env.PGSSLROOTCERT = own.ca;
  try {
    await start(at('sealed', '&sslmode=verify-full'));
  } finally {
    delete process.env.PGSSLROOTCERT;
  }
});

test('the next connection uses a changed authority; an unusable one is ignored', async () => {
  const root = join(folder, 'root.pem');
  copyFileSync(own.ca, root);
  const certificates = new Certificates(log, { lookMs: 10 });
  const databaseUrl = at('sealed', `&sslmode=verify-full&sslrootcert=${encodeURIComponent(root)}`);
  const store = openStore({ databaseUrl, poolSize: 1, log, certificates });
  await store.start();
  const cut = () =>
    asOwner("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'sealed'");
  const works = () =>
    store.devices.count({}).then(
      () => true,
      () => false,
    );
  const become = (expected: boolean) =>
    waitFor(
      async () => {
        await cut();
        return (await works()) === expected;
      },
      { what: `the next connection to ${expected ? 'be there' : 'be refused'}` },
    );
  try {
    await become(true);
    writeFileSync(root, 'not a certificate');
    await waitFor(() => certificates.warnings().length > 0, { what: 'the warning' });
    assert.match(certificates.warnings().join(), /^database: .*stay in use/);
    await become(true);
    copyFileSync(foreign.ca, root);
    await become(false);
    copyFileSync(own.ca, root);
    await become(true);
    assert.equal(certificates.warnings(), []);
  } finally {
    await store.stop();
  }
});

test('a server without TLS is refused where TLS is required, and used where TLS is preferred', async () => {
  const url = (mode: string) => `${withoutTls.url}?sslmode=${mode}`;
  await rejects(start(url('require')), tells(/it has no TLS, and sslmode=require asks for it/));
  await start(url('prefer'));
  await start(url('allow'));
});

test('a password comes from the URL, PGPASSWORD, or a file that only its owner can read', async () => {
  const file = join(folder, 'pgpass');
  const url = at('guarded', `&passfile=${encodeURIComponent(file)}`);
  await start(url.replace('guarded', 'guarded:hunter2'));
  const lines = ['# comment', `other:*:*:*:no`, `127.0.0.1:${server.port}:postgres:guarded:hunter2`];
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  await start(url);
  process.env.PGPASSFILE = file;
  await start(at('guarded'));
  delete process.env.PGPASSFILE;
  chmodSync(file, 0o644);
  await rejects(start(url), tells(/asks for the password of user guarded.*others may read it: chmod 0600/));
  chmodSync(file, 0o600);
  writeFileSync(file, '*:*:*:guarded:wrong\n');
  await rejects(start(url), tells(/does not accept the password of user guarded/));
  writeFileSync(file, '*:*:*:somebody:else\n');
  await rejects(start(url), tells(/has no line for 127\.0\.0\.1:\d+:postgres:guarded/));
  process.env.PGPASSWORD = 'hunter2';
  await start(url);
  delete process.env.PGPASSWORD;
});

test('the socket is reached by both forms of its URL', async () => {
  const { socketFolder, port } = server;
  await start(`postgres://postgres@${encodeURIComponent(socketFolder)}:${port}/postgres?sslmode=verify-full`);
  await start(`postgres:///postgres?user=postgres&port=${port}&host=${socketFolder}`);
});

test('wrong settings fail at once with a sentence; a server that is down is unavailable', async () => {
  await rejects(start(at('guarded:wrong')), tells(/does not accept the password of user guarded/));
  await rejects(start(at('nobody')), tells(/nobody/));
  await rejects(
    start(at('sealed').replace('/postgres?', '/nowhere?')),
    tells(/there is no database nowhere: create it, or correct the URL/),
  );
  await rejects(start('postgres://x@127.0.0.1:1/x'), (error) => assert.instance(error, StoreUnavailable));
});

test.run();
