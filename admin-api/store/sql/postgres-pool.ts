/**
 * Connections to PostgreSQL, or to a pooler before it. A pooler in transaction mode (PgBouncer) gives a
 * server to each transaction and not to each connection, so nothing that is set for the connection holds
 * there: time limits are part of the transaction, in the same message as its `begin`.
 */
import type { PostgresPool } from 'kysely';
import pg from 'pg';
import type { Logger } from 'pino';
import type { Certificates } from '../../../bus/tls/certificates.ts';
import { StoreSettingsError } from '../store-settings-error.ts';
import { codeOf, isUnavailable } from './postgres-errors.ts';
import { passwordFromFile } from './postgres-passwords.ts';
import { type TlsChoice, tlsChoices, tlsFilesOf } from './postgres-tls.ts';
import type { PostgresAddress } from './postgres-url.ts';
import { storableText } from './storable-text.ts';

export interface PostgresPoolOptions {
  address: PostgresAddress;
  /** Connections the pool may open. */
  poolSize: number;
  /** After how long the server gives up a statement, milliseconds. */
  statementTimeoutMs: number;
  /** However long an answer takes, it is waited for; that the server still is there is asked by TCP. */
  answersAtAnyTime?: boolean;
  /** Has the TLS files read again when they change; absent: they are read once. */
  certificates?: Certificates | undefined;
  log: Logger;
}

const INT8 = 20;
const KEEP_ALIVE_AFTER_MS = 10_000;
/** SQLSTATE and words of those who refuse a connection because of time limits among its parameters. */
const LIMITS_REFUSED = /unsupported startup parameter|unrecognized configuration parameter/i;

/** How connections are made now; what the first one found out. */
interface Way {
  tls: TlsChoice;
  /** Whether time limits hold for a connection. If not, each transaction sets its own. */
  limits: 'connection' | 'transaction';
}

/**
 * Makes one connection to find out how the others are made. Rejects with `StoreSettingsError` or what the
 * driver says.
 */
export async function openPool(options: PostgresPoolOptions): Promise<PostgresPool> {
  const [first, ...others] = tlsChoices(options.address);
  let failure: unknown;
  for (const tls of [first, ...others]) {
    try {
      const way: Way = { tls, limits: await whereLimitsHold(options, tls) };
      options.log.debug({ tls: tls !== false, limits: way.limits }, 'database reached');
      return poolOf(options, way);
    } catch (error) {
      // The last says more: that a server has no TLS is no reason where it is only preferred.
      failure = error;
      if (!mayGoAnotherWay(error)) break;
    }
  }
  throw told(failure, options.address);
}

/** The server has no TLS, or wants it: what `sslmode` `prefer` and `allow` are for. */
function mayGoAnotherWay(error: unknown): boolean {
  return codeOf(error) === '28000' || /does not support SSL/.test((error as Error).message);
}

async function whereLimitsHold(options: PostgresPoolOptions, tls: TlsChoice): Promise<Way['limits']> {
  try {
    const setting = await withClient(clientConfig(options, { tls, limits: 'connection' }), async (client) => {
      const { rows } = await client.query('select setting from pg_settings where name = $1', [
        'statement_timeout',
      ]);
      return (rows[0] as { setting: string } | undefined)?.setting;
    });
    // A pooler may drop the parameter without a word, or have given the server to somebody else before.
    return setting === String(options.statementTimeoutMs) ? 'connection' : 'transaction';
  } catch (error) {
    if (!LIMITS_REFUSED.test((error as Error).message)) throw error;
  }
  await withClient(clientConfig(options, { tls, limits: 'transaction' }), (client) =>
    client.query('select 1'),
  );
  return 'transaction';
}

async function withClient<T>(config: pg.ClientConfig, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(config);
  client.on('error', () => {
    // The call that failed says it.
  });
  try {
    await client.connect();
    return await use(client);
  } finally {
    void client.end().catch(() => undefined);
  }
}

function clientConfig(
  { address, statementTimeoutMs, answersAtAnyTime = false }: PostgresPoolOptions,
  { tls, limits }: Way,
): pg.ClientConfig {
  const { host, port, user, database, password, connectTimeoutMs, applicationName } = address;
  return {
    ...{ host, port, user, database, application_name: applicationName },
    ...(address.options === undefined ? {} : { options: address.options }),
    ...(address.sslnegotiation === 'direct' ? { sslnegotiation: 'direct' } : {}),
    ssl: tls,
    // Asked only when the server wants one, for each connection. `undefined` would send the driver looking by
    // itself.
    password: () => password ?? passwordFromFile(address).password ?? noPassword(address),
    connectionTimeoutMillis: connectTimeoutMs,
    // A server that vanished without a word (no FIN, no RST) must not hold a request for ever.
    ...(answersAtAnyTime
      ? { keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS }
      : { query_timeout: statementTimeoutMs + connectTimeoutMs }),
    keepAlive: true,
    ...(limits === 'connection'
      ? { statement_timeout: statementTimeoutMs, idle_in_transaction_session_timeout: statementTimeoutMs }
      : // A statement of its own goes out with its `begin` and `commit` in one round trip.
        { pipeline: true }),
    types: {
      // Counts and times stay far below 2^53, so a bigint is read as a number.
      getTypeParser: ((oid: number, format?: 'text') =>
        oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  } as pg.ClientConfig;
}

function noPassword(address: PostgresAddress): never {
  const { problem } = passwordFromFile(address);
  throw new StoreSettingsError(
    `PostgreSQL asks for the password of user ${address.user}, and there is none: put it into the URL, ` +
      'PGPASSWORD or a ' +
      `password file (PGPASSFILE, ~/.pgpass)${problem === undefined ? '' : `; ${problem}`}`,
  );
}

function poolOf(options: PostgresPoolOptions, way: Way): PostgresPool {
  const { poolSize, statementTimeoutMs, log } = options;
  const pool = new pg.Pool({ ...clientConfig(options, way), max: poolSize });
  const unwatch = watchTls(options, way, (tls) => {
    // What the pool makes its next connection with.
    pool.options.ssl = tls;
  });
  // An idle connection broke; the pool has dropped it already, and the next statement opens another.
  pool.on('error', (err) => log.warn({ err }, 'idle database connection lost'));
  const begin =
    way.limits === 'connection'
      ? 'begin'
      : `begin; set local statement_timeout = ${statementTimeoutMs}; ` +
        `set local idle_in_transaction_session_timeout = ${statementTimeoutMs}`;
  return {
    async connect() {
      const client = await pool.connect();
      // A connection that breaks between two statements of a transaction: the next statement reports it.
      const onError = (err: Error) => log.warn({ err }, 'database connection lost');
      client.on('error', onError);
      const run = way.limits === 'connection' ? direct(client) : pooled(client, begin);
      // A connection that broke, or still waits for a statement we gave up, must not go back into the pool.
      let broken: Error | undefined;
      return {
        async query(text: string, values: readonly unknown[]) {
          if (broken !== undefined) throw broken;
          try {
            return await run(text, values.map(bindable));
          } catch (error) {
            if (isUnavailable(error) && error instanceof Error) broken = error;
            throw error;
          }
        },
        release() {
          client.off('error', onError);
          client.release(broken);
        },
      };
    },
    end() {
      unwatch();
      return pool.end();
    },
  } as unknown as PostgresPool;
}

function watchTls(
  { address, certificates }: PostgresPoolOptions,
  { tls }: Way,
  take: (tls: TlsChoice) => void,
): () => void {
  const { files, certFile } = tlsFilesOf(address);
  if (tls === false || certificates === undefined || files.length === 0) return () => {};
  return certificates.watch({
    name: 'database',
    files,
    certFile,
    take() {
      const found = tlsChoices(address).find((choice) => choice !== false);
      if (found !== undefined) take(found);
    },
  });
}

type Run = (text: string, values: unknown[]) => Promise<unknown>;

function direct(client: pg.PoolClient): Run {
  return (text, values) => client.query(text, values);
}

/**
 * Through a pooler: `begin` brings the limits along, and a statement outside a transaction gets one for
 * itself.
 */
function pooled(client: pg.PoolClient, begin: string): Run {
  let inside = false;
  return async (text, values) => {
    if (text === 'begin') {
      inside = true;
      return client.query(begin);
    }
    if (text === 'commit' || text === 'rollback') inside = false;
    else if (!inside) {
      const [begun, answer, ended] = await Promise.allSettled([
        client.query(begin),
        client.query(text, values),
        client.query('commit'),
      ]);
      for (const step of [begun, answer, ended]) if (step.status === 'rejected') throw step.reason;
      return (answer as PromiseFulfilledResult<unknown>).value;
    }
    return client.query(text, values);
  };
}

function bindable(value: unknown): unknown {
  if (typeof value === 'string') return storableText(value);
  if (value === null || typeof value === 'number' || typeof value === 'bigint') return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new TypeError(`a value of type ${typeof value} cannot be stored`);
}

const TLS_CODES = /^(ERR_TLS_|CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|HOSTNAME_MISMATCH|ERR_SSL_)/;

/** Why the first connection failed, in a sentence where a person must change something. */
function told(error: unknown, { host, port, user, database, sslmode }: PostgresAddress): unknown {
  const code = codeOf(error);
  const { message } = error as Error;
  const at = host.startsWith('/') ? `at ${host}` : `at ${host}:${port}`;
  const settings = (why: string) => new StoreSettingsError(`PostgreSQL ${at}: ${why}`, { cause: error });
  if (code === '28P01' || /password authentication failed/.test(message)) {
    return settings(`it does not accept the password of user ${user}`);
  }
  if (code === '3D000' || /no such database/.test(message)) {
    return settings(`there is no database ${database}: create it, or correct the URL`);
  }
  if (code.startsWith('28') || /no such user|server login failed/.test(message)) return settings(message);
  if (TLS_CODES.test(code)) {
    return settings(`its certificate is not accepted with sslmode=${sslmode}: ${message}`);
  }
  if (/does not support SSL/.test(message)) {
    return settings(
      `it has no TLS, and sslmode=${sslmode} asks for it: turn ssl on there, or use sslmode=prefer`,
    );
  }
  if (code === 'EACCES') return settings(`this user may not open its socket: ${message}`);
  return error;
}
