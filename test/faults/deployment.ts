/**
 * The programs of one world, each a process, with a proxy on every link between them and a clock of their
 * own. All that a fault can be made to is here; `make/` makes them.
 */
import { chmod, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { adminFlags, DRAIN_AT_ONCE, gatewayFlags, joinFlags } from '../deployment/flags.ts';
import { Programs } from '../deployment/programs.ts';
import { TcpProxy } from '../deployment/tcp-proxy.ts';
import { startGuard } from '../services/guard.ts';
import { type PostgresServer, startPostgres } from '../services/postgres.ts';
import { type Program, startCli } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { type ClusterDeployment, startClusterDeployment } from '../services/redis-cluster.ts';
import { type SentinelDeployment, startSentinelDeployment } from '../services/redis-sentinel.ts';
import { SmallDisk } from '../services/small-disk.ts';
import { freePort } from '../wait.ts';

/** What a world consists of. `whole` is `pushpoint start`: everything in one process, without Redis. */
export interface Shape {
  admins: 1 | 2;
  store: 'sqlite' | 'postgres';
  bus: 'redis' | 'sentinel' | 'cluster' | 'memory';
}

export type ProgramName = 'whole' | `admin${1 | 2}` | `gw${1 | 2}`;
export type LinkName = `${ProgramName}-redis` | `devices-${ProgramName}`;

/** Of the line that a program prints when it serves. */
interface Ports {
  apiPort?: number;
  metricsPort?: number;
}

/** Short, so that devices notice within a scenario that nobody answers. */
const HEARTBEAT = '4s';
/** Under PostgreSQL; its log is kept small, so that nothing but a fault fills it. */
const POSTGRES_DISK = '500m';
const SMALL_LOG = ['max_wal_size=64MB', 'min_wal_size=32MB'];
const START_ATTEMPTS = 12;
const START_AGAIN_MS = 1_000;

export class FaultDeployment {
  readonly shape: Shape;
  readonly links = new Map<LinkName, TcpProxy>();
  /** One for each administration server. */
  readonly servers: string[] = [];
  readonly #programs: Programs;
  readonly #health = new Map<ProgramName, string>();
  #redis: RedisServer | undefined;
  #sentinel: SentinelDeployment | undefined;
  #cluster: ClusterDeployment | undefined;
  #postgres: PostgresServer | undefined;
  #disk: SmallDisk | undefined;
  readonly #guard;
  #databaseUrl: string | undefined;
  #postgresFolder: string | undefined;
  token = '';

  private constructor(shape: Shape, programs: Programs) {
    this.shape = shape;
    this.#programs = programs;
    this.#guard = startGuard({ folder: programs.folder });
  }

  static async start(shape: Shape): Promise<FaultDeployment> {
    const deployment = new FaultDeployment(shape, await Programs.in('faults-'));
    try {
      await deployment.#start();
      return deployment;
    } catch (error) {
      const said = deployment.lastWords();
      await deployment.stop();
      throw new Error(`the deployment did not start:\n${said}`, { cause: error });
    }
  }

  get folder(): string {
    return this.#programs.folder;
  }

  get redis(): RedisServer {
    if (!this.#redis) throw new Error('there is no Redis here');
    return this.#redis;
  }

  get sentinel(): SentinelDeployment {
    if (!this.#sentinel) throw new Error('there is no Sentinel here');
    return this.#sentinel;
  }

  get cluster(): ClusterDeployment {
    if (!this.#cluster) throw new Error('there is no cluster here');
    return this.#cluster;
  }

  get postgres(): PostgresServer {
    if (!this.#postgres) throw new Error('there is no PostgreSQL here');
    return this.#postgres;
  }

  /** The disk under the database. */
  get disk(): SmallDisk {
    if (!this.#disk) throw new Error('no disk of its own could be mounted: that needs root');
    return this.#disk;
  }

  /** A file or a URL. */
  get database(): string {
    return this.#databaseUrl ?? join(this.folder, 'data', 'pushpoint.db');
  }

  get programs(): ProgramName[] {
    return this.#programs.names as ProgramName[];
  }

  get gateways(): ProgramName[] {
    const names = this.programs.filter((name) => name.startsWith('gw'));
    return names.length > 0 ? names : ['whole'];
  }

  get admins(): ProgramName[] {
    const names = this.programs.filter((name) => name.startsWith('admin'));
    return names.length > 0 ? names : ['whole'];
  }

  link(name: LinkName): TcpProxy {
    const link = this.links.get(name);
    if (!link) throw new Error(`there is no link ${name}`);
    return link;
  }

  program(name: ProgramName): Program {
    return this.#programs.program(name);
  }

  /** Environment of a program or a fleet process whose clock can be shifted by this name. */
  clockEnvironment(name: string): Record<string, string> {
    return this.#programs.clockEnvironment(name);
  }

  /** The wall clock of the named program is off by so much from now on, milliseconds. */
  shiftClock(name: string, offsetMs: number): Promise<void> {
    return this.#programs.shiftClock(name, offsetMs);
  }

  /**
   * Starts a program that does not run; again when it ends before it serves, as whoever keeps programs
   * running does.
   */
  async startProgram(name: ProgramName): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#startOnce(name);
      } catch (error) {
        if (attempt === START_ATTEMPTS) throw error;
        await pause(START_AGAIN_MS);
      }
    }
  }

  async #startOnce(name: ProgramName): Promise<void> {
    await this.launch(name);
    await this.serves(name);
  }

  /**
   * Starts a program and does not wait for it; one that runs is stopped first. `stderr`: where it writes its
   * log, a path; to us when absent.
   */
  launch(name: ProgramName, where: { stderr?: string } = {}): Promise<Program> {
    return this.#programs.launch(name, where);
  }

  /** Resolves when a program that was launched serves. */
  async serves(name: ProgramName): Promise<void> {
    const line = await this.#programs.ready(name);
    const said = JSON.parse(line.slice('ready '.length)) as Ports;
    // In one process the administration server's, which knows of the store as well.
    this.#health.set(name, `http://127.0.0.1:${said.apiPort ?? said.metricsPort}`);
  }

  /** What an operator runs once an older database is back in its place. */
  async databaseRestored(): Promise<void> {
    const [, ...planned] = this.#programs.planned('admin1').args;
    const flags = ['--api-port', '--join-tokens', '--log-level'].reduce(
      (rest, name) => rest.toSpliced(rest.indexOf(name), 2),
      planned,
    );
    const program = startCli(['restored', ...flags], { cwd: this.folder });
    const { code } = await program.exited;
    await program.stop();
    if (code !== 0) throw new Error(`pushpoint restored ended with ${code}: ${program.output}`);
  }

  /** An administration server of somebody else: the same Redis, a database of its own. */
  async launchForeign(): Promise<Program> {
    const flags = adminFlags({ dataDir: join(this.folder, 'foreign'), port: await freePort() });
    return startCli(['admin', ...flags, '--redis-url', this.redis.url], { cwd: this.folder });
  }

  /** Where the program tells how it is; `undefined` before it has been started. */
  healthOf(name: ProgramName): string | undefined {
    return this.#health.get(name);
  }

  /** What the programs wrote last. */
  lastWords(lines = 8): string {
    return this.#programs.lastWords(lines);
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    await Promise.all(this.programs.map((name) => this.#programs.kill(name)));
    await Promise.all([...this.links.values()].map((link) => link.stop()));
    await this.#redis?.stop();
    await this.#sentinel?.stop();
    await this.#cluster?.stop();
    await this.#postgres?.stop();
    await this.#disk?.unmount();
    if (this.#postgresFolder) await rm(this.#postgresFolder, { recursive: true, force: true });
    await this.#programs.stop();
    await this.#guard.release();
  }

  async #start(): Promise<void> {
    const { shape, folder } = this;
    const data = join(folder, 'data');
    await mkdir(data);
    if (shape.store === 'sqlite') this.#disk = await SmallDisk.mount(data);
    else {
      this.#postgres = await this.#startPostgres();
      this.#databaseUrl = await this.#postgres.createDatabase();
    }
    if (shape.bus === 'memory') await this.#planWhole(data);
    else await this.#planSeveral(data, await this.#startRedis());
    // The first makes the first token; gateways that start side by side save time.
    const [first, ...others] = this.admins;
    if (first) await this.startProgram(first);
    this.token = (await readFile(join(data, 'admin-token'), 'utf8')).trim();
    const rest = [...others, ...this.gateways.filter((name) => name !== first)];
    await Promise.all(rest.map((name) => this.startProgram(name)));
  }

  /** On a disk of its own, where that is possible. */
  async #startPostgres(): Promise<PostgresServer> {
    // Outside our folder, which the user that PostgreSQL runs as cannot enter.
    this.#postgresFolder = await mkdtemp(join(tmpdir(), 'faults-pg-'));
    this.#disk = await SmallDisk.mount(this.#postgresFolder, POSTGRES_DISK);
    await chmod(this.#postgresFolder, 0o755);
    return startPostgres({ fsync: false, under: this.#postgresFolder, settings: SMALL_LOG });
  }

  /** Resolves with the URL that leads a program there: through a proxy, where there is one address only. */
  async #startRedis(): Promise<(program: ProgramName) => Promise<string>> {
    const { bus } = this.shape;
    if (bus === 'sentinel') {
      this.#sentinel = await startSentinelDeployment();
      const { url } = this.#sentinel;
      return async () => url;
    }
    if (bus === 'cluster') {
      this.#cluster = await startClusterDeployment();
      const { url } = this.#cluster;
      return async () => url;
    }
    this.#redis = await startRedis();
    const { port } = this.#redis;
    return async (program) => {
      const proxy = await TcpProxy.start(port);
      this.links.set(`${program}-redis`, proxy);
      return `redis://127.0.0.1:${proxy.port}`;
    };
  }

  async #planSeveral(data: string, redisUrl: (program: ProgramName) => Promise<string>): Promise<void> {
    for (let n = 1; n <= this.shape.admins; n++) {
      const name = `admin${n}` as ProgramName;
      const flags = await this.#adminFlags(data);
      this.#planProgram(name, [
        'admin',
        ...flags,
        '--join-tokens',
        'gw1,gw2',
        '--redis-url',
        await redisUrl(name),
      ]);
    }
    for (const [name, workers] of [
      ['gw1', 2],
      ['gw2', 1],
    ] as const) {
      const flags = [...(await this.#gatewayFlags(name)), '--workers', String(workers)];
      flags.push(...joinFlags(name, data));
      this.#planProgram(name, ['gateway', ...flags, '--redis-url', await redisUrl(name)]);
    }
  }

  async #planWhole(data: string): Promise<void> {
    const flags = [...(await this.#adminFlags(data)), ...(await this.#gatewayFlags('whole'))];
    this.#planProgram('whole', ['start', ...flags]);
  }

  #planProgram(name: ProgramName, args: readonly string[]): void {
    this.#programs.plan(name, {
      args: [...args, '--log-level', 'warn'],
      env: this.#programs.clockEnvironment(name),
    });
  }

  async #adminFlags(dataDir: string): Promise<string[]> {
    const port = await freePort();
    this.servers.push(`http://127.0.0.1:${port}`);
    return adminFlags({ dataDir, port, databaseUrl: this.#databaseUrl });
  }

  async #gatewayFlags(name: ProgramName): Promise<string[]> {
    const port = await freePort();
    const proxy = await TcpProxy.start(port);
    this.links.set(`devices-${name}`, proxy);
    const flags = gatewayFlags({ name, port, dialed: proxy.port });
    return [...flags, ...DRAIN_AT_ONCE, '--heartbeat-interval', HEARTBEAT];
  }
}
