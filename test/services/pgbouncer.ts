import { chmod, chown, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../wait.ts';
import { findPrograms, installPackage } from './install.ts';
import { answers, type PostgresServer, unprivilegedUser } from './postgres.ts';
import { Service } from './service.ts';

export interface PgBouncer {
  /** A database's URL, by way of the pooler. */
  through(url: string): string;
  /** Idempotent. */
  stop(): Promise<void>;
}

async function ensurePgBouncer(): Promise<string> {
  const find = () => findPrograms(['pgbouncer'], ['/usr/sbin', '/usr/bin']);
  let found = await find();
  if (found === undefined) {
    await installPackage('pgbouncer', 'brew install pgbouncer (macOS)');
    found = await find();
  }
  if (found === undefined) throw new Error('pgbouncer was installed, but is not where it is looked for');
  return found.pgbouncer;
}

/** PgBouncer in transaction mode before a PostgreSQL of the tests, with few servers for many connections. */
export async function startPgBouncer(
  server: PostgresServer,
  settings: Record<string, string> = {},
): Promise<PgBouncer> {
  const command = await ensurePgBouncer();
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'pgbouncer-'));
  const user = await unprivilegedUser();
  const file = join(folder, 'pgbouncer.ini');
  const own = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: 'transaction',
    max_client_conn: '500',
    default_pool_size: '4',
    // Databases of tests that are over must not use up the server's connections.
    server_idle_timeout: '1',
    ...settings,
  };
  const lines = Object.entries(own).map(([name, value]) => `${name} = ${value}`);
  const target = `* = host=${server.socketFolder} port=${server.port} user=postgres`;
  await writeFile(file, ['[databases]', target, '[pgbouncer]', ...lines, ''].join('\n'));
  await chmod(folder, 0o700);
  if (user !== undefined) for (const path of [folder, file]) await chown(path, user.uid, user.gid);
  const through = (url: string) => {
    const own = new URL(url);
    own.port = String(port);
    return own.href;
  };
  const service = new Service({
    name: 'pgbouncer',
    folder,
    command,
    arguments: [file],
    user,
    stopSignal: 'SIGTERM',
    endSignal: 'KILL',
    answers: () => answers(through(server.url)),
    startTimeoutMs: 10_000,
  });
  try {
    await service.start();
  } catch (error) {
    await service.stop();
    throw error;
  }
  return { through, stop: () => service.stop() };
}
