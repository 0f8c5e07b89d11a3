/**
 * Reads a PostgreSQL URL and the PG* variables as libpq does (PostgreSQL documentation, 34.1.1.2 and 34.15).
 * Settings that libpq takes and this program does not are refused with a reason; none is silently ignored.
 */
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import { StoreSettingsError } from '../store-settings-error.ts';

export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
const SSL_MODES: readonly string[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];

export interface PostgresAddress {
  /** A name, an address, or the folder of a Unix socket. */
  host: string;
  port: number;
  user: string;
  database: string;
  /** Absent: the password file may have one. */
  password?: string;
  passfile?: string;
  sslmode: SslMode;
  sslrootcert?: string;
  sslcert?: string;
  sslkey?: string;
  sslpassword?: string;
  sslnegotiation: 'postgres' | 'direct';
  applicationName: string;
  options?: string;
  connectTimeoutMs: number;
}

/** Parameters of the URL, each with the variable that applies if the URL lacks it. */
const VARIABLES = {
  host: 'PGHOST',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  options: 'PGOPTIONS',
  application_name: 'PGAPPNAME',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslnegotiation: 'PGSSLNEGOTIATION',
} as const;
type Parameter = keyof typeof VARIABLES | 'sslpassword';
/** Accepted without effect at these values, which are what the program does anyway. */
const HARMLESS: Record<string, RegExp> = {
  client_encoding: /^(utf-?8|auto)$/i,
  gssencmode: /^(disable|prefer)$/,
  channel_binding: /^(disable|prefer)$/,
  target_session_attrs: /^any$/,
  load_balance_hosts: /^disable$/,
  fallback_application_name: /./,
  keepalives: /^1$/,
};
const HARMLESS_VARIABLES: Record<string, string> = {
  PGCLIENTENCODING: 'client_encoding',
  PGGSSENCMODE: 'gssencmode',
  PGCHANNELBINDING: 'channel_binding',
  PGTARGETSESSIONATTRS: 'target_session_attrs',
  PGHOSTADDR: 'hostaddr',
  PGSERVICE: 'service',
};
const FORM =
  'postgres://user:password@host:port/database?sslmode=verify-full, or ' +
  'postgres:///database?host=/var/run/postgresql';
/** Where PostgreSQL puts its socket: Debian and Red Hat, and its own default. */
const SOCKET_FOLDERS = ['/var/run/postgresql', '/tmp'];
const CONNECT_TIMEOUT_MS = 5_000;

/** Throws `StoreSettingsError`, which never contains a password. */
export function postgresAddress(url: string, env: NodeJS.ProcessEnv = process.env): PostgresAddress {
  const given = parameters(url);
  for (const [variable, name] of Object.entries(HARMLESS_VARIABLES)) {
    if (env[variable]) check(name, env[variable], variable);
  }
  const value = (name: Parameter): string | undefined =>
    given.get(name) || (name === 'sslpassword' ? undefined : env[VARIABLES[name]]) || undefined;
  const port = number('port', value('port') ?? '5432', 1, 65_535);
  const user = value('user') ?? systemUser();
  const sslmode = value('sslmode') ?? 'prefer';
  if (!SSL_MODES.includes(sslmode)) {
    refuse(`sslmode=${sslmode} is not known; there are ${SSL_MODES.join(', ')}`);
  }
  const host = value('host') ?? defaultHost(port);
  if (host.includes(',')) {
    refuse('several hosts are not supported: name one that leads to the primary (a DNS name, a proxy)');
  }
  const sslnegotiation = value('sslnegotiation') ?? 'postgres';
  if (sslnegotiation !== 'postgres' && sslnegotiation !== 'direct') {
    refuse(`sslnegotiation=${sslnegotiation} is not known; there are postgres and direct`);
  }
  if (sslnegotiation === 'direct' && ['disable', 'allow', 'prefer'].includes(sslmode)) {
    refuse(`sslnegotiation=direct needs sslmode=require or stronger, and it is ${sslmode}`);
  }
  const timeout = number('connect_timeout', value('connect_timeout') ?? '0', 0, 3_600) * 1_000;
  return {
    host,
    port,
    user,
    database: value('dbname') ?? user,
    sslmode: sslmode as SslMode,
    sslnegotiation,
    applicationName: value('application_name') ?? 'pushpoint',
    connectTimeoutMs: timeout || CONNECT_TIMEOUT_MS,
    ...present('password', value('password')),
    ...present('passfile', value('passfile')),
    ...present('options', value('options')),
    ...present('sslrootcert', value('sslrootcert')),
    ...present('sslcert', value('sslcert')),
    ...present('sslkey', value('sslkey')),
    ...present('sslpassword', value('sslpassword')),
  };
}

export const isSocketFolder = (host: string): boolean => host.startsWith('/');

function parameters(url: string): Map<string, string> {
  // `URL` would refuse `user@/database` and percent-encoded folders, which libpq takes.
  const form =
    /^postgres(?:ql)?:\/\/(?:([^/?]*)@)?(\[[^\]]*\]|[^/?:@]*)(?::([^/?]*))?(?:\/([^?]*))?(?:\?(.*))?$/;
  const [, login, host, port, database, query] = form.exec(url) ?? refuse(`it is not of the form ${FORM}`);
  const given = new Map<string, string>();
  const set = (name: string, text: string | undefined) => {
    if (text) given.set(name, decoded(text, name));
  };
  const colon = login?.indexOf(':') ?? -1;
  set('user', colon < 0 ? login : login?.slice(0, colon));
  set('password', colon < 0 ? undefined : login?.slice(colon + 1));
  set('host', host?.replace(/^\[(.*)\]$/, '$1'));
  set('port', port);
  set('dbname', database);
  for (const pair of (query ?? '').split('&').filter((text) => text !== '')) {
    const [name = '', ...rest] = pair.split('=');
    const text = decoded(rest.join('='), name);
    if (rest.length === 0) refuse(`the parameter ${name} has no value`);
    // JDBC's spelling, which libpq takes as well.
    if (name === 'ssl' && text === 'true') given.set('sslmode', 'require');
    else if (name in VARIABLES || name === 'sslpassword') given.set(name, text);
    else check(name, text, name);
  }
  return given;
}

function check(name: string, value: string, shown: string): void {
  const harmless = Object.hasOwn(HARMLESS, name) ? HARMLESS[name] : undefined;
  if (harmless?.test(value)) return;
  if (harmless !== undefined) refuse(`${shown}=${value} is not supported`);
  refuse(
    shown in HARMLESS_VARIABLES
      ? `${shown} is set and not supported: unset it, and put the address into the URL`
      : `the parameter ${shown} is not known; there are ` +
          `${[...Object.keys(VARIABLES), 'sslpassword'].join(', ')}`,
  );
}

function decoded(text: string, name: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse(`${name} has a % that two hexadecimal digits do not follow; a % itself is written %25`);
  }
}

function number(name: string, text: string, min: number, max: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : refuse(`${name} must be a number from ${min} to ${max}`);
}

function present<K extends string>(name: K, value: string | undefined): { [P in K]?: string } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: string };
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    return refuse('the user is missing, and this process has no name to use instead');
  }
}

/** The socket of a server on this machine, if there is one; libpq looks where it was built for. */
function defaultHost(port: number): string {
  return SOCKET_FOLDERS.find((folder) => existsSync(`${folder}/.s.PGSQL.${port}`)) ?? 'localhost';
}

function refuse(why: string): never {
  throw new StoreSettingsError(`The database URL cannot be used: ${why}.`);
}
