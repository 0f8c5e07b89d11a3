import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type PostgresAddress, postgresAddress } from '../../admin-api/store/sql/postgres-url.ts';
import { StoreSettingsError } from '../../admin-api/store/store-settings-error.ts';

function read(url: string, env: NodeJS.ProcessEnv = {}): Partial<PostgresAddress> {
  return postgresAddress(url, env);
}

function has(actual: Partial<PostgresAddress>, expected: Partial<PostgresAddress>): void {
  for (const [key, value] of Object.entries(expected)) {
    assert.is(actual[key as keyof PostgresAddress], value, key);
  }
}

function refused(url: string, sentence: RegExp, env: NodeJS.ProcessEnv = {}): void {
  assert.throws(
    () => read(url, env),
    (error: unknown) => {
      assert.instance(error, StoreSettingsError);
      const { message } = error as Error;
      assert.match(message, /^The database URL cannot be used: .*\.$/);
      assert.match(message, sentence);
      assert.not.match(message, /hunter2/);
      return true;
    },
  );
}

test('a URL with everything in it', () => {
  has(read('postgresql://me:p%40ss%3A@db.example.net:6432/main?sslmode=verify-full&connect_timeout=3'), {
    host: 'db.example.net',
    port: 6432,
    user: 'me',
    password: 'p@ss:',
    database: 'main',
    sslmode: 'verify-full',
    connectTimeoutMs: 3_000,
  });
});

test('sockets: a folder as parameter, or percent-encoded in place of the host', () => {
  const socket = { host: '/var/run/postgresql', database: 'main' };
  has(read('postgres:///main?host=/var/run/postgresql'), socket);
  has(read('postgres://me@/main?host=/var/run/postgresql'), { ...socket, user: 'me' });
  has(read('postgres://me@%2Fvar%2Frun%2Fpostgresql/main'), { ...socket, user: 'me' });
  has(read('postgres://me@%2Fvar%2Frun%2Fpostgresql:5433/main'), { ...socket, port: 5_433 });
});

test('addresses of IPv6 stand in brackets', () => {
  has(read('postgres://me@[2001:db8::1]:6432/main'), { host: '2001:db8::1', port: 6_432 });
});

test('what the URL leaves out the PG* variables say, and then the system', () => {
  const env = {
    PGHOST: '/run/pg',
    PGPORT: '7000',
    PGUSER: 'them',
    PGDATABASE: 'other',
    PGPASSWORD: 'hunter2',
    PGSSLMODE: 'require',
    PGSSLROOTCERT: '/root.pem',
    PGPASSFILE: '/pass',
    PGAPPNAME: 'blue',
    PGOPTIONS: '-c x=1',
    PGCONNECT_TIMEOUT: '9',
  };
  has(read('postgres://', env), {
    host: '/run/pg',
    port: 7_000,
    user: 'them',
    database: 'other',
    password: 'hunter2',
    sslmode: 'require',
    sslrootcert: '/root.pem',
    passfile: '/pass',
    applicationName: 'blue',
    options: '-c x=1',
    connectTimeoutMs: 9_000,
  });
  has(read('postgres://me:own@db:1/main?sslmode=disable&application_name=green', env), {
    host: 'db',
    port: 1,
    user: 'me',
    database: 'main',
    password: 'own',
    sslmode: 'disable',
    applicationName: 'green',
  });
  // libpq's defaults: the user's name for the database, encrypted when the server can.
  has(read('postgres://me@db'), { database: 'me', sslmode: 'prefer', port: 5_432 });
});

test('what cannot be used is said in a sentence, without the password', () => {
  refused('mysql://me:hunter2@db/main', /of the form postgres:\/\//);
  refused('postgres://me:hunter2@db:port/main', /port must be a number/);
  refused('postgres://me:hunter2@db:65536/main', /port must be a number/);
  refused('postgres://me:hunter2%@db/main', /password has a %/);
  refused('postgres://me:hunter2@db/main?sslmode=on', /sslmode=on is not known; there are disable, allow/);
  refused('postgres://me:hunter2@a,b/main', /several hosts are not supported/);
  refused('postgres://me:hunter2@db/main?sslmod=require', /the parameter sslmod is not known/);
  refused('postgres://me:hunter2@db/main?sslmode', /sslmode has no value/);
  refused('postgres://me:hunter2@db/main?target_session_attrs=read-write', /target_session_attrs=read-write/);
  refused('postgres://me:hunter2@db/main?sslnegotiation=direct', /needs sslmode=require/);
  refused('postgres://me@db/main', /PGSERVICE is set and not supported/, { PGSERVICE: 'prod' });
  refused('postgres://me@db/main', /sslmode=nope/, { PGSSLMODE: 'nope' });
});

test.run();
