/** The programs under test: Redis, one administration server on SQLite, gateways of two workers each. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ApiClient } from '../../cli/api/api-client.ts';
import { findPrograms } from '../services/install.ts';
import { type Exit, Program, startCli } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { freePort } from '../wait.ts';

export const WORKERS = 2;
/** Devices a gateway sends away per second when they have to leave. */
export const DRAIN_PER_SECOND = 250;

const MAIN = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

export class Deployment {
  readonly server: string;
  readonly api: ApiClient;
  readonly #folder: string;
  readonly #redis: RedisServer;
  readonly #programs: Map<string, Program>;
  /**
   * What runs gateways as somebody without the privilege to listen on low ports; empty when nobody here has
   * it.
   */
  readonly #unprivileged: readonly string[];
  readonly #flags = new Map<string, readonly string[]>();

  private constructor(parts: {
    server: string;
    token: string;
    folder: string;
    redis: RedisServer;
    programs: Map<string, Program>;
    unprivileged: readonly string[];
  }) {
    this.server = parts.server;
    this.api = new ApiClient({ server: parts.server, token: parts.token, timeoutMs: 30_000 });
    this.#folder = parts.folder;
    this.#redis = parts.redis;
    this.#programs = parts.programs;
    this.#unprivileged = parts.unprivileged;
  }

  static async start(): Promise<Deployment> {
    const folder = await mkdtemp(join(tmpdir(), 'gateways-'));
    const redis = await startRedis();
    const port = await freePort();
    const dataDir = join(folder, 'data');
    const programs = new Map<string, Program>();
    try {
      const flags = ['--data-dir', dataDir, '--api-port', String(port), '--redis-url', redis.url];
      const admin = startCli(['admin', ...flags, '--log-level', 'warn'], { cwd: folder });
      programs.set('admin', admin);
      await admin.waitForLine(/^ready /, 30_000);
      const token = (await readFile(join(dataDir, 'admin-token'), 'utf8')).trim();
      const server = `http://127.0.0.1:${port}`;
      return new Deployment({ server, token, folder, redis, programs, unprivileged: await unprivileged() });
    } catch (error) {
      const said = programs.get('admin')?.output ?? '';
      await programs.get('admin')?.stop();
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
      throw new Error(`the administration server did not start:\n${said}`, { cause: error });
    }
  }

  get gateways(): string[] {
    return [...this.#flags.keys()];
  }

  /** Settles on what a gateway is to be started with; its port is free now. */
  async addGateway(name: string, connectionLimit: number): Promise<void> {
    const port = String(await freePort());
    this.#flags.set(name, [
      ...['--name', name, '--host', '127.0.0.1', '--port', port, '--address', `ws://127.0.0.1:${port}`],
      ...['--workers', String(WORKERS), '--connection-limit', String(connectionLimit)],
      ...['--drain-per-second', String(DRAIN_PER_SECOND)],
    ]);
  }

  /** Starts a gateway that was added and does not run; the flags are always the same. */
  async startGateway(name: string): Promise<void> {
    const flags = this.#flags.get(name);
    if (!flags) throw new Error(`there is no ${name}`);
    await this.#programs.get(name)?.stop();
    const program = this.runGateway(flags);
    this.#programs.set(name, program);
    await program.waitForLine(/^ready /, 30_000);
  }

  /** Runs `pushpoint gateway` with the deployment's Redis; the caller stops it. */
  runGateway(flags: readonly string[]): Program {
    const [command = '', ...args] = [...this.#unprivileged, process.execPath, MAIN, 'gateway', ...flags];
    const deployment = ['--redis-url', this.#redis.url, '--metrics-port', '0', '--log-level', 'warn'];
    return new Program(command, [...args, ...deployment], { cwd: this.#folder });
  }

  /** SIGTERM; resolves when the process has ended. */
  async stopGateway(name: string): Promise<Exit> {
    const program = this.#programs.get(name);
    if (!program) throw new Error(`there is no ${name}`);
    return program.stop(30_000);
  }

  /** What the programs wrote last. */
  lastWords(lines = 15): string {
    return [...this.#programs]
      .flatMap(([name, { lines: said }]) => [
        `---- ${name}`,
        ...said.slice(-lines).map((line) => line.slice(0, 500)),
      ])
      .join('\n');
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    const names = [...this.#programs.keys()].reverse();
    // The administration server, which is the first, goes last.
    await Promise.all(names.slice(0, -1).map((name) => this.#programs.get(name)?.stop(5_000)));
    for (const name of names.slice(-1)) await this.#programs.get(name)?.stop(5_000);
    await this.#redis.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** root keeps what it needs to read its files, and loses what a privileged port takes. */
async function unprivileged(): Promise<string[]> {
  if (process.getuid?.() !== 0) return [];
  const found = await findPrograms(['setpriv'], ['/usr/bin']);
  return found ? [found.setpriv, '--inh-caps=-net_bind_service', '--bounding-set=-net_bind_service'] : [];
}
