import { execFile } from 'node:child_process';
import { chmod, chown, copyFile, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { freePort } from '../wait.ts';
import { findPrograms, installPackage, versionedFolders } from './install.ts';
import { Service } from './service.ts';
import { startOnFreePort } from './start-on-free-port.ts';

export interface PostgresServer {
  /** Of the database `postgres`; tests make their own with `createDatabase`. */
  readonly url: string;
  readonly port: number;
  /** Where its Unix socket is. */
  readonly socketFolder: string;
  readonly running: boolean;
  /** Of the process that runs now; throws when none does. */
  readonly pid: number;
  /**
   * A fresh database, empty or a copy of the one at URL `like`, which nobody may be connected to; its URL.
   */
  createDatabase(like?: string): Promise<string>;
  /**
   * SIGKILL when absent. Resolves once it and its backends have ended, or at once for SIGSTOP and SIGCONT.
   */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Stops it if it runs (sessions are cut), and starts it on the same port with its data. */
  restart(): Promise<void>;
  /** Idempotent. */
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** Off: starts and writes faster; a killed process still loses nothing, only a killed machine would. */
  fsync?: boolean;
  /** Lines of pg_hba.conf; everyone is trusted when absent. */
  hba?: readonly string[];
  /** PEM files; no TLS when absent. */
  tls?: { cert: string; key: string };
  /** More settings: `name=value`. */
  settings?: readonly string[];
  /** The folder to make its own in; that of temporary files when absent. */
  under?: string;
}

const run = promisify(execFile);

/** Where initdb and postgres are; installs them where they are missing and this process may. */
export async function ensurePostgres(): Promise<{ initdb: string; postgres: string }> {
  const find = async () =>
    findPrograms(
      ['initdb', 'postgres'],
      [...(await versionedFolders('/usr/lib/postgresql', 'bin')), '/usr/local/bin', '/opt/homebrew/bin'],
    );
  const found = await find();
  if (found !== undefined) return found;
  await installPackage('postgresql', 'brew install postgresql (macOS)');
  const installed = await find();
  if (installed === undefined) throw new Error('postgresql was installed, but is not where it is looked for');
  return installed;
}

/** A PostgreSQL of the test's own on a free port of 127.0.0.1 and a socket, data in a temporary folder. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const programs = await ensurePostgres();
  return startOnFreePort(() => prepare(programs, options));
}

async function prepare(
  programs: { initdb: string; postgres: string },
  { fsync = true, hba, tls, settings = [], under = tmpdir() }: PostgresOptions,
): Promise<PostgresServer> {
  const port = await freePort();
  const folder = await mkdtemp(join(under, 'pg-'));
  const data = join(folder, 'data');
  await chmod(folder, 0o700);
  const user = await unprivilegedUser();
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  const env = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' };
  const service = new Service({
    name: 'postgres',
    folder,
    command: programs.postgres,
    arguments: [
      ...['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', folder],
      ...['-c', `fsync=${fsync ? 'on' : 'off'}`, '-c', 'shared_buffers=32MB', '-c', 'max_connections=100'],
      ...(tls === undefined ? [] : ['-c', 'ssl=on', '-c', `ssl_cert_file=${folder}/own.pem`]),
      ...(tls === undefined ? [] : ['-c', `ssl_key_file=${folder}/own.key`]),
      ...settings.flatMap((setting) => ['-c', setting]),
    ],
    user,
    env,
    stopSignal: 'SIGINT',
    endSignal: 'QUIT',
    answers: () => answers(socketUrlOf(folder, port)),
    startTimeoutMs: 30_000,
  });
  try {
    const flags = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'];
    await run(programs.initdb, flags, { ...user, env, cwd: folder });
    // Over the socket the tests' own connections are trusted always.
    if (hba !== undefined) {
      await writeFile(join(data, 'pg_hba.conf'), `${['local all postgres trust', ...hba].join('\n')}\n`);
    }
    for (const [from, to] of tls === undefined
      ? []
      : ([
          [tls.cert, 'own.pem'],
          [tls.key, 'own.key'],
        ] as const)) {
      const own = join(folder, to);
      await copyFile(from, own);
      await chmod(own, 0o600);
      if (user !== undefined) await chown(own, user.uid, user.gid);
    }
  } catch (error) {
    await service.stop();
    throw error;
  }
  let databases = 0;
  return {
    url: urlOf(port, 'postgres'),
    port,
    socketFolder: folder,
    get running() {
      return service.running;
    },
    get pid() {
      return service.pid;
    },
    async createDatabase(like) {
      databases += 1;
      const name = `test_${databases}`;
      const client = new Client({ connectionString: socketUrlOf(folder, port) });
      await client.connect();
      try {
        const template = like === undefined ? '' : ` template ${new URL(like).pathname.slice(1)}`;
        await client.query(`create database ${name}${template}`);
      } finally {
        await client.end();
      }
      return urlOf(port, name);
    },
    kill: (signal = 'SIGKILL') => service.kill(signal),
    async restart() {
      await service.halt();
      await service.start();
    },
    stop: () => service.stop(),
  };
}

function urlOf(port: number, database: string): string {
  return `postgres://postgres@127.0.0.1:${port}/${database}`;
}

function socketUrlOf(folder: string, port: number): string {
  return `postgres:///postgres?user=postgres&port=${port}&host=${encodeURIComponent(folder)}`;
}

/** Whether a database answers within two seconds. */
export async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => {
    // Reported by the call that failed.
  });
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** PostgreSQL refuses to run as root; root lends it the user that the package made, or nobody. */
export async function unprivilegedUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const user = users.find((fields) => fields[0] === name);
    if (user !== undefined) return { uid: Number(user[2]), gid: Number(user[3]) };
  }
  throw new Error('root cannot run PostgreSQL, and there is neither a user postgres nor nobody');
}

/** The rows of one statement, over a connection of its own. */
// biome-ignore lint/suspicious/noExplicitAny: rows have the columns of the statement
export async function queryPostgres(url: string, sql: string): Promise<any[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
