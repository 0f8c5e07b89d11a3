/** `REDIS_URL` and the settings beside it: what they may say, and what follows. */
import { readFileSync } from 'node:fs';
import { checkTls, MIN_TLS } from '../tls/certificate.ts';

export interface RedisSettings {
  /**
   * One of `redis://[user:password@]host[:6379][/database]`,
   * `redis+sentinel://[user:password@]host[:26379],host…/name[/database]` (the sentinels, and what they call
   * the primary), `redis+cluster://[user:password@]host[:6379],host…` (some servers of the cluster); with
   * `rediss` in place of `redis`: TLS to all of them. Special characters of a password are percent-encoded.
   */
  url: string;
  /** Replaces the user and password in the URL. */
  username?: string;
  password?: string;
  /** Of the sentinels; those in the URL are of the Redis servers. */
  sentinelUsername?: string;
  sentinelPassword?: string;
  tls?: RedisTls;
}

export interface RedisTls {
  /** PEM: the authorities for the servers' certificates; those that Node trusts when absent. */
  ca?: string;
  /** PEM: the certificate and key shown to the servers; none when absent. */
  cert?: string;
  key?: string;
  /** Files with these three, in place of them: read now, and again whenever they change. */
  files?: RedisTlsFiles;
  /** `false`: any certificate is accepted. True when absent. */
  verify?: boolean;
}

export interface RedisTlsFiles {
  ca?: string;
  cert?: string;
  key?: string;
}

export interface Endpoint {
  host: string;
  port: number;
}

export interface Credentials {
  username?: string;
  password?: string;
}

/** Each new connection uses the current content: changed files are read into the same object. */
export type TlsOptions = {
  rejectUnauthorized: boolean;
  minVersion: 'TLSv1.2';
  ca?: string;
  cert?: string;
  key?: string;
};

/** `endpoints`: the server, the sentinels, or some servers of the cluster. */
export type RedisTarget = {
  endpoints: readonly [Endpoint, ...Endpoint[]];
  database: number;
  credentials: Credentials;
  tls: TlsOptions | null;
} & (
  | { kind: 'standalone' }
  | { kind: 'sentinel'; primary: string; sentinelCredentials: Credentials }
  | { kind: 'cluster' }
);

/** The settings are unusable; the message says why and repeats nothing that could be secret. */
export class RedisSettingsError extends Error {
  override readonly name = 'RedisSettingsError';
}

const DEFAULT_PORT = { standalone: 6_379, cluster: 6_379, sentinel: 26_379 };
const FORMS =
  'redis://host:6379/0, redis+sentinel://host:26379,host:26379/primary or ' +
  'redis+cluster://host:6379,host:6379 (with TLS: rediss)';

/** Throws `RedisSettingsError`. */
export function parseRedisSettings(settings: RedisSettings): RedisTarget {
  const [, scheme, suffix, rest] =
    /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(.+)$/s.exec(settings.url.trim()) ?? [];
  if (rest === undefined) throw new RedisSettingsError(`a Redis URL looks like ${FORMS}`);
  const kind = (suffix ?? 'standalone') as RedisTarget['kind'];
  const at = rest.lastIndexOf('@');
  const [, hosts = '', path = ''] = /^([^/]*)\/?(.*)$/s.exec(rest.slice(at + 1)) ?? [];
  if (/[?#]/.test(hosts + path)) {
    throw new RedisSettingsError(
      'a Redis URL must not contain `?` or `#`: other options have settings of their own',
    );
  }
  const common = {
    endpoints: endpointsIn(hosts, kind),
    credentials: credentials({
      ...userInfo(rest.slice(0, Math.max(at, 0))),
      ...given(settings.username, settings.password),
    }),
    tls: tlsOptions(settings.tls, scheme === 'rediss'),
  };
  const segments = path.split('/').filter((segment) => segment !== '');
  if (kind !== 'sentinel' && (settings.sentinelUsername ?? settings.sentinelPassword) !== undefined) {
    throw new RedisSettingsError('a user or password for sentinels is set, but the URL names no sentinels');
  }
  switch (kind) {
    case 'sentinel': {
      const [primary, database, ...more] = segments;
      if (primary === undefined || more.length > 0) {
        throw new RedisSettingsError(
          'the URL must end with the name that the sentinels give the primary: /name',
        );
      }
      const sentinelCredentials = credentials(given(settings.sentinelUsername, settings.sentinelPassword));
      return {
        ...common,
        kind,
        primary: decoded(primary),
        sentinelCredentials,
        database: databaseNumber(database),
      };
    }
    case 'cluster':
      if (segments.join('/') !== '' && segments.join('/') !== '0') {
        throw new RedisSettingsError('a Redis Cluster only has database 0');
      }
      return { ...common, kind, database: 0 };
    default:
      if (common.endpoints.length > 1) {
        throw new RedisSettingsError(
          'redis:// takes one server; for several use redis+sentinel:// (their sentinels) or ' +
            'redis+cluster://',
        );
      }
      if (segments.length > 1)
        throw new RedisSettingsError('only the number of a database may follow the server');
      return { ...common, kind, database: databaseNumber(segments[0]) };
  }
}

export function endpointName({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function endpointsIn(hosts: string, kind: RedisTarget['kind']): [Endpoint, ...Endpoint[]] {
  const endpoints = hosts.split(',').map((text) => {
    const [, v6, name, port] =
      /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/.exec(text.trim()) ?? [];
    const host = v6 ?? name;
    if (host === undefined)
      throw new RedisSettingsError('every server in a Redis URL must be host, host:port or [IPv6]:port');
    const number = port === undefined ? DEFAULT_PORT[kind] : Number(port);
    if (number < 1 || number > 65_535)
      throw new RedisSettingsError('a port in the Redis URL is not from 1 to 65535');
    return { host, port: number };
  });
  return endpoints as [Endpoint, ...Endpoint[]];
}

function userInfo(text: string): Credentials {
  const colon = text.indexOf(':');
  const username = decoded(colon === -1 ? text : text.slice(0, colon));
  return given(username || undefined, colon === -1 ? undefined : decoded(text.slice(colon + 1)) || undefined);
}

function given(username: string | undefined, password: string | undefined): Credentials {
  return { ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
}

function credentials(found: Credentials): Credentials {
  if (found.username !== undefined && found.password === undefined) {
    throw new RedisSettingsError('a Redis user is set without a password');
  }
  return found;
}

/** Reads the files. Throws `RedisSettingsError`. */
export function tlsOptions(tls: RedisTls | undefined, wanted: boolean): TlsOptions | null {
  if (!wanted) {
    if (tls !== undefined)
      throw new RedisSettingsError('settings for TLS are given, but the URL begins with redis, not rediss');
    return null;
  }
  const { ca, cert, key } = tls?.files === undefined ? (tls ?? {}) : readFiles(tls.files);
  if ((cert === undefined) !== (key === undefined)) {
    throw new RedisSettingsError('the certificate for Redis and its key must be given together');
  }
  return checked({
    rejectUnauthorized: tls?.verify ?? true,
    ...MIN_TLS,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && key !== undefined && { cert, key }),
  });
}

function readFiles(files: RedisTlsFiles): RedisTlsFiles {
  const read = (file: string) => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      throw new RedisSettingsError(
        `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`,
      );
    }
  };
  return Object.fromEntries(Object.entries(files).map(([name, file]) => [name, read(file)]));
}

function checked(options: TlsOptions): TlsOptions {
  try {
    checkTls(options);
    return options;
  } catch (error) {
    throw new RedisSettingsError(`the TLS files for Redis are not usable: ${(error as Error).message}`);
  }
}

function databaseNumber(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d{1,5}$/.test(text)) throw new RedisSettingsError('the database in a Redis URL is a number');
  return Number(text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RedisSettingsError(
      'a `%` in the Redis URL is not followed by two hexadecimal digits: write it as %25',
    );
  }
}
