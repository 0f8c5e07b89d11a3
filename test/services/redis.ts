import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { freePort } from '../wait.ts';
import type { Certificates } from './certificates.ts';
import { findPrograms, installPackage } from './install.ts';
import { Service } from './service.ts';
import { startOnFreePort } from './start-on-free-port.ts';

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Where its data is. */
  readonly folder: string;
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

export interface RedisOptions {
  /**
   * More settings as redis-server takes them on its command line, without their dashes:
   * `['requirepass', 'x']`.
   */
  settings?: readonly (readonly [name: string, ...values: string[]])[];
  /** Speaks TLS only, and asks clients for a certificate of the same authority if `clients` is true. */
  tls?: Pick<Certificates, 'ca' | 'cert' | 'key'> & { clients?: boolean };
  /** Runs as a Sentinel; `settings` are lines of its configuration file. */
  sentinel?: boolean;
}

/**
 * A Redis of the test's own: a free port of 127.0.0.1, data in a temporary folder (append-only file, fsync
 * each second).
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const command = await ensureRedis();
  return startOnFreePort(() => prepare(command, options));
}

async function prepare(command: string, options: RedisOptions): Promise<RedisServer> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'redis-'));
  await chmod(folder, 0o700);
  const settings: (readonly string[])[] = [
    ...(options.tls === undefined ? [['port', String(port)]] : tlsSettings(port, options.tls)),
    ...[
      ['bind', '127.0.0.1'],
      ['dir', folder],
      ['daemonize', 'no'],
    ],
    // Replicas need not wait for each other before they copy the data.
    ...(options.sentinel
      ? []
      : [
          ['appendonly', 'yes'],
          ['appendfsync', 'everysec'],
          ['save', ''],
          ['repl-diskless-sync-delay', '0'],
        ]),
    ...(options.settings ?? []),
  ];
  const file = join(folder, 'redis.conf');
  const service = new Service({
    name: options.sentinel ? 'redis-server --sentinel' : 'redis-server',
    folder,
    command,
    arguments: [file, ...(options.sentinel ? ['--sentinel'] : [])],
    stopSignal: 'SIGTERM',
    endSignal: 'KILL',
    answers: () => ping(port, options.tls),
    startTimeoutMs: 10_000,
  });
  // Sentinel and a replica that was promoted write into it what they found out: a restart goes on from there.
  const writeSettings = () =>
    writeFile(
      file,
      settings
        .map(([name, ...values]) => `${name} ${values.map((value) => JSON.stringify(value)).join(' ')}\n`)
        .join(''),
    );
  await writeSettings();
  return {
    url: `${options.tls === undefined ? 'redis' : 'rediss'}://127.0.0.1:${port}`,
    port,
    folder,
    get pid() {
      return service.pid;
    },
    kill: (signal = 'SIGKILL') => service.kill(signal),
    async restart({ empty = false } = {}) {
      await service.halt();
      if (empty) {
        const names = await readdir(folder);
        await Promise.all(names.map((name) => rm(join(folder, name), { recursive: true, force: true })));
        await writeSettings();
      }
      await service.start();
    },
    stop: () => service.stop(),
  };
}

function tlsSettings(port: number, tls: NonNullable<RedisOptions['tls']>): string[][] {
  return [
    ['port', '0'],
    ['tls-port', String(port)],
    ['tls-ca-cert-file', tls.ca],
    ['tls-cert-file', tls.cert],
    ['tls-key-file', tls.key],
    ['tls-auth-clients', tls.clients ? 'yes' : 'no'],
    ['tls-replication', 'yes'],
    ['tls-cluster', 'yes'],
  ];
}

/**
 * True when it answers PONG, or that a password is needed first: neither refused nor still loading its data.
 */
function ping(port: number, tls: RedisOptions['tls']): Promise<boolean> {
  return new Promise((resolve) => {
    const socket =
      tls === undefined
        ? connect(port, '127.0.0.1')
        : tlsConnect({
            port,
            host: '127.0.0.1',
            ca: readFileSync(tls.ca),
            cert: readFileSync(tls.cert),
            key: readFileSync(tls.key),
          });
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      resolve(/^(\+PONG|-NOAUTH)/.test(data.toString()));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
