import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../wait.ts';
import { findPrograms, installPackage } from './install.ts';
import { Service } from './service.ts';

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now; throws when none does. */
  readonly pid: number;
  /** SIGKILL when absent. Resolves once the process has ended, or at once for SIGSTOP and SIGCONT. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Stops it in good order if it runs, and starts it on the same port, with its data unless `empty`. */
  restart(options?: { empty?: boolean }): Promise<void>;
  /** Idempotent. */
  stop(): Promise<void>;
}

/** Where redis-server is; installs it where it is missing and this process may. */
export async function ensureRedis(): Promise<string> {
  const find = () =>
    findPrograms(['redis-server'], ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin']);
  const found = await find();
  if (found !== undefined) return found['redis-server'];
  await installPackage('redis-server', 'brew install redis (macOS)');
  const installed = await find();
  if (installed === undefined)
    throw new Error('redis-server was installed, but is not where it is looked for');
  return installed['redis-server'];
}

/** A Redis of the test's own: a free port of 127.0.0.1, data in a temporary folder (append-only file, fsync each second). */
export async function startRedis(): Promise<RedisServer> {
  const command = await ensureRedis();
  for (let attempt = 1; ; attempt += 1) {
    const server = await prepare(command);
    try {
      await server.restart();
      return server;
    } catch (error) {
      await server.stop();
      // Somebody else may have taken the port between its choice and its use.
      if (attempt === 3) throw error;
    }
  }
}

async function prepare(command: string): Promise<RedisServer> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'redis-'));
  await chmod(folder, 0o700);
  const service = new Service({
    name: 'redis-server',
    folder,
    command,
    arguments: [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--daemonize', 'no'],
      ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
    ],
    stopSignal: 'SIGTERM',
    endSignal: 'KILL',
    answers: () => ping(port),
    startTimeoutMs: 10_000,
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return service.pid;
    },
    kill: (signal = 'SIGKILL') => service.kill(signal),
    async restart({ empty = false } = {}) {
      await service.halt();
      if (empty) {
        const names = await readdir(folder);
        await Promise.all(names.map((name) => rm(join(folder, name), { recursive: true, force: true })));
      }
      await service.start();
    },
    stop: () => service.stop(),
  };
}

/** True when the answer is PONG: neither refused nor still loading its data. */
function ping(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once('connect', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
