/**
 * Connections to PostgreSQL, or to a pooler in front of it. A pooler in transaction mode (PgBouncer) assigns
 * a server to each transaction, not to each connection. Settings of the connection have no effect there, so
 * each transaction sets its time limits in the same message as its `begin`.
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
  /** The pool opens at most this many connections. */
  poolSize: number;
  /** The server cancels a statement after this long, milliseconds. */
  statementTimeoutMs: number;
  /** Waits for an answer however long it takes; TCP checks that the server is still there. */
  answersAtAnyTime?: boolean;
  /** Reads the TLS files again when they change; absent: they are read once. */
  certificates?: Certificates | undefined;
  log: Logger;
}

const INT8 = 20;
const KEEP_ALIVE_AFTER_MS = 10_000;
/** SQLSTATE and wording of servers that refuse connections with time limits among their parameters. */
const LIMITS_REFUSED = /unsupported startup parameter|unrecognized configuration parameter/i;

/** How to open connections, as the first one found out. */
interface Way {
  tls: TlsChoice;
  /** Whether time limits can be set for the connection. If not, each transaction sets its own. */
  limits: 'connection' | 'transaction';
}

/**
 * Opens one connection to find out how to open the others. Rejects with `StoreSettingsError` or the driver's
 * error.
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
      // The last error says more: with TLS only preferred, a server without TLS is not the reason.
      failure = error;
      if (!mayGoAnotherWay(error)) break;
    }
  }
  throw told(failure, options.address);
}

/** Whether the server lacks TLS or requires it: the cases that `sslmode` `prefer` and `allow` are for. */
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
    // A pooler may drop the parameter silently, or reuse a server whose settings somebody else chose.
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
    // The failed call reports it.
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
    // Called for each connection, and only if the server wants a password. With `undefined` the driver would
    // look for one by itself.
    password: () => password ?? passwordFromFile(address).password ?? noPassword(address),
    connectionTimeoutMillis: connectTimeoutMs,
    // A server that vanishes silently (no FIN, no RST) must not hold a request for ever.
    ...(answersAtAnyTime
      ? { keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS }
      : { query_timeout: statementTimeoutMs + connectTimeoutMs }),
    keepAlive: true,
    ...(limits === 'connection'
      ? { statement_timeout: statementTimeoutMs, idle_in_transaction_session_timeout: statementTimeoutMs }
      : // A single statement goes out with its `begin` and `commit` in one round trip.
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
    // The pool opens its next connection with these.
    pool.options.ssl = tls;
  });
  // An idle connection broke. The pool has dropped it, and the next statement opens another.
  pool.on('error', (err) => log.warn({ err }, 'idle database connection lost'));
  const begin =
    way.limits === 'connection'
      ? 'begin'
      : `begin; set local statement_timeout = ${statementTimeoutMs}; ` +
        `set local idle_in_transaction_session_timeout = ${statementTimeoutMs}`;
  return {
    async connect() {
      const client = await pool.connect();
      // If a connection breaks between two statements of a transaction, the next statement reports it.
      const onError = (err: Error) => log.warn({ err }, 'database connection lost');
      client.on('error', onError);
      const run = way.limits === 'connection' ? direct(client) : pooled(client, begin);
      // A connection that broke, or still runs a statement that we gave up, must not return to the pool.
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

/** For poolers: `begin` also sets the limits, and a statement outside a transaction gets its own. */
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

/** Why the first connection failed; a sentence if a person must change something. */
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
