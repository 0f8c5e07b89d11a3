import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../../cli/api/api-client.ts';
import { TcpProxy } from '../faults/tcp-proxy.ts';
import { type PostgresServer, startPostgres } from '../services/postgres.ts';
import { type Program, startCli } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { freePort } from '../wait.ts';
import { backUp, type DatabasePlace, restore } from './backup.ts';

const CLOCK_SHIFT = new URL('../faults/clock-shift.js', import.meta.url).href;

export interface DeploymentOptions {
  /**
   * `memory`: one process, `pushpoint start`. `redis`: an administration server and gateways, a process each.
   */
  bus: 'memory' | 'redis';
  /** SQLite when absent. */
  store?: 'sqlite' | 'postgres';
  /** Over Redis; 2 when absent. Named `gw1`, `gw2` and so on. */
  gateways?: number;
  /**
   * How far devices are from each gateway, in order, round trips in milliseconds; none are delayed when
   * absent.
   */
  distancesMs?: readonly number[];
  /** Flags for whatever holds devices' connections. */
  gatewayFlags?: readonly string[];
  /** How far the wall clocks of programs are off, milliseconds. */
  clocks?: Partial<Record<ProgramName, number>>;
  /** Flags for the administration server. */
  adminFlags?: readonly string[];
}

/** What `start` starts: over the in-process bus there is `admin` only, and it is everything. */
export type ProgramName = 'admin' | `gw${number}`;

/**
 * The real programs, as processes that are killed and started again with the same data and on the same ports.
 */
export class Deployment {
  readonly #options: DeploymentOptions;
  readonly #folder: string;
  readonly #commands: Map<ProgramName, readonly string[]>;
  readonly #programs = new Map<ProgramName, Program>();
  readonly #postgres: PostgresServer | undefined;
  readonly #redis: RedisServer | undefined;
  readonly #database: DatabasePlace;
  readonly #proxies: readonly TcpProxy[];
  readonly server: string;
  #token = '';

  private constructor(parts: {
    options: DeploymentOptions;
    folder: string;
    commands: Map<ProgramName, readonly string[]>;
    server: string;
    redis: RedisServer | undefined;
    postgres: PostgresServer | undefined;
    database: DatabasePlace;
    proxies: readonly TcpProxy[];
  }) {
    this.#database = parts.database;
    this.#options = parts.options;
    this.#folder = parts.folder;
    this.#commands = parts.commands;
    this.#redis = parts.redis;
    this.#postgres = parts.postgres;
    this.#proxies = parts.proxies;
    this.server = parts.server;
  }

  /** Resolves when everything runs and the gateways are known, so that devices can enrol and connect. */
  static async start(options: DeploymentOptions): Promise<Deployment> {
    const folder = await mkdtemp(join(tmpdir(), 'deployment-'));
    const redis = options.bus === 'redis' ? await startRedis() : undefined;
    const postgres = options.store === 'postgres' ? await startPostgres({ fsync: false }) : undefined;
    const apiPort = await freePort();
    const database = { dataDir: join(folder, 'data'), databaseUrl: await postgres?.createDatabase() };
    const admin = [
      ...['--data-dir', database.dataDir, '--api-port', String(apiPort)],
      ...(database.databaseUrl === undefined ? [] : ['--database-url', database.databaseUrl]),
      ...(options.adminFlags ?? []),
    ];
    const commands = new Map<ProgramName, readonly string[]>();
    const proxies: TcpProxy[] = [];
    if (redis) {
      commands.set('admin', ['admin', ...admin, '--redis-url', redis.url]);
      for (let n = 1; n <= (options.gateways ?? 2); n++) {
        const port = await freePort();
        const distanceMs = options.distancesMs?.[n - 1];
        const proxy = distanceMs === undefined ? undefined : await TcpProxy.start(port);
        proxy?.slow((distanceMs ?? 0) / 2);
        if (proxy) proxies.push(proxy);
        const gateway = gatewayFlags(`gw${n}`, port, proxy?.port ?? port, options);
        // One with several workers, the others with as few processes as can be.
        const workers = n === 1 ? '2' : '1';
        commands.set(`gw${n}`, ['gateway', ...gateway, '--workers', workers, '--redis-url', redis.url]);
      }
    } else {
      const port = await freePort();
      commands.set('admin', ['start', ...admin, ...gatewayFlags('gw1', port, port, options)]);
    }
    const server = `http://127.0.0.1:${apiPort}`;
    const deployment = new Deployment({
      options,
      folder,
      commands,
      server,
      redis,
      postgres,
      database,
      proxies,
    });
    try {
      for (const name of commands.keys()) await deployment.start(name);
    } catch (error) {
      await deployment.stop();
      throw error;
    }
    return deployment;
  }

  /** Of the database, into `file`, which is not there yet. */
  backUp(file: string): Promise<void> {
    return backUp(this.#database, file);
  }

  /** While the administration server does not run. */
  restore(file: string): Promise<void> {
    return restore(this.#database, file);
  }

  /** With `data`, the folder of the administration server. */
  get folder(): string {
    return this.#folder;
  }

  get redis(): RedisServer {
    if (!this.#redis) throw new Error('this deployment has no Redis');
    return this.#redis;
  }

  get postgres(): PostgresServer {
    if (!this.#postgres) throw new Error('this deployment has no PostgreSQL');
    return this.#postgres;
  }

  get programs(): ProgramName[] {
    return [...this.#commands.keys()];
  }

  get gatewayNames(): string[] {
    return this.#options.bus === 'memory' ? ['gw1'] : this.programs.filter((name) => name !== 'admin');
  }

  /** The first token, which `admin` keeps in its data folder. */
  get token(): string {
    return this.#token;
  }

  api(token = this.#token): ApiClient {
    return new ApiClient({ server: this.server, token, timeoutMs: 20_000 });
  }

  /** Starts a program that does not run. */
  async start(name: ProgramName): Promise<void> {
    await this.launch(name);
    await this.program(name).waitForLine(/^ready /, 30_000);
    this.#token ||= (await readFile(join(this.#folder, 'data', 'admin-token'), 'utf8')).trim();
  }

  /** The same without waiting until it is ready. */
  async launch(name: ProgramName): Promise<void> {
    const command = this.#commands.get(name);
    if (!command) throw new Error(`there is no ${name} here`);
    await this.#programs.get(name)?.stop();
    const program = startCli([...command, '--log-level', 'warn'], {
      cwd: this.#folder,
      ...(await this.#clockOf(name)),
    });
    this.#programs.set(name, program);
  }

  async #clockOf(name: ProgramName): Promise<{ env?: Record<string, string> }> {
    const offMs = this.#options.clocks?.[name];
    if (offMs === undefined) return {};
    const file = join(this.#folder, `${name}.clock`);
    await writeFile(file, String(offMs));
    return { env: { NODE_OPTIONS: `--import=${CLOCK_SHIFT}`, FAULTS_CLOCK: file } };
  }

  /** Kills a program with its workers, as when its machine dies; resolves when it is gone. */
  async kill(name: ProgramName): Promise<void> {
    await this.#programs.get(name)?.killGroup();
  }

  /** Asks a program to stop in order; resolves when it has. */
  async end(name: ProgramName): Promise<void> {
    await this.#programs.get(name)?.kill('SIGTERM');
  }

  /** A program stands still, with its workers, until it is thawed. */
  freeze(name: ProgramName): void {
    this.#signalGroup(name, 'SIGSTOP');
  }

  thaw(name: ProgramName): void {
    this.#signalGroup(name, 'SIGCONT');
  }

  #signalGroup(name: ProgramName, signal: NodeJS.Signals): void {
    const program = this.#programs.get(name);
    if (program?.running) process.kill(-program.pid, signal);
  }

  /** The process that runs, or ran last, under this name. */
  program(name: ProgramName): Program {
    const program = this.#programs.get(name);
    if (!program) throw new Error(`${name} was not started`);
    return program;
  }

  running(name: ProgramName): boolean {
    return this.#programs.get(name)?.running ?? false;
  }

  /** What the programs wrote last, for the message of a test that fails. */
  lastWords(lines = 15): string {
    return [...this.#programs]
      .map(([name, { lines: said }]) => [`---- ${name}`, ...said.slice(-lines).map(shorten)].join('\n'))
      .join('\n');
  }

  /** Idempotent. Programs that hang are killed. */
  async stop(): Promise<void> {
    // Gateways first: they hand in what they still hold.
    for (const name of this.programs.reverse()) await this.#programs.get(name)?.stop(5_000);
    for (const proxy of this.#proxies) await proxy.stop();
    await this.#redis?.stop();
    await this.#postgres?.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Without the middle of a stack trace. */
function shorten(line: string): string {
  return line.length > 700 ? `${line.slice(0, 350)} ... ${line.slice(-350)}` : line;
}

function gatewayFlags(name: string, port: number, dialed: number, options: DeploymentOptions): string[] {
  return [
    ...['--name', name, '--host', '127.0.0.1', '--port', String(port), '--metrics-port', '0'],
    ...['--address', `ws://127.0.0.1:${dialed}`, '--drain-per-second', '100000'],
    ...(options.gatewayFlags ?? []),
  ];
}
