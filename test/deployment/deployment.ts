import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ApiClient } from '../../cli/api/api-client.ts';
import { type PostgresServer, startPostgres } from '../services/postgres.ts';
import type { Program } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { freePort } from '../wait.ts';
import { backUp, type DatabasePlace, restore } from './backup.ts';
import { adminFlags, DRAIN_AT_ONCE, gatewayFlags, joinFlags } from './flags.ts';
import { Programs } from './programs.ts';
import { TcpProxy } from './tcp-proxy.ts';

export interface DeploymentOptions {
  /**
   * `memory`: one process, `pushpoint start`. `redis`: an administration server and gateways, a process each.
   */
  bus: 'memory' | 'redis';
  /** SQLite when absent. */
  store?: 'sqlite' | 'postgres';
  /** Started at once over Redis, named `gw1`, `gw2` and so on; 2 when absent. */
  gateways?: number;
  /**
   * How far devices are from each gateway, in order, round trips in milliseconds; none are delayed when
   * absent.
   */
  distancesMs?: readonly number[];
  /** Flags for whatever holds devices' connections. */
  gatewayFlags?: readonly string[];
  /** How far the wall clocks of programs are off, milliseconds. */
  clocks?: Readonly<Record<string, number>>;
  /** Of the programs; `warn` when absent. */
  logLevel?: 'info' | 'warn';
  /** Flags for the administration server. */
  adminFlags?: readonly string[];
}

export interface DeploymentParts {
  options: DeploymentOptions;
  programs: Programs;
  redis: RedisServer | undefined;
  postgres: PostgresServer | undefined;
  database: DatabasePlace;
  /** Of the HTTP API. */
  port: number;
}

/** What the programs need before they start. */
export async function prepare(options: DeploymentOptions): Promise<DeploymentParts> {
  const programs = await Programs.in('deployment-');
  const redis = options.bus === 'redis' ? await startRedis() : undefined;
  const postgres = options.store === 'postgres' ? await startPostgres({ fsync: false }) : undefined;
  const database = {
    dataDir: join(programs.folder, 'data'),
    databaseUrl: await postgres?.createDatabase(),
  };
  return { options, programs, redis, postgres, database, port: await freePort() };
}

/**
 * The real programs, as processes that are killed and started again with the same data and on the same ports.
 * Over the in-process bus there is `admin` only, and it is everything.
 */
export class Deployment {
  readonly server: string;
  readonly #parts: DeploymentParts;
  readonly #programs: Programs;
  readonly #proxies: TcpProxy[] = [];
  #token = '';

  protected constructor(parts: DeploymentParts) {
    this.#parts = parts;
    this.#programs = parts.programs;
    this.server = `http://127.0.0.1:${parts.port}`;
  }

  /** Resolves when everything runs and the gateways are known, so that devices can enrol and connect. */
  static async start(options: DeploymentOptions): Promise<Deployment> {
    return new Deployment(await prepare(options)).begun();
  }

  protected async begun(): Promise<this> {
    try {
      await this.#plan();
      for (const name of this.programs) await this.start(name);
      return this;
    } catch (error) {
      const said = this.lastWords();
      await this.stop();
      throw new Error(`the deployment did not start:\n${said}`, { cause: error });
    }
  }

  async #plan(): Promise<void> {
    const { options, database, port } = this.#parts;
    const { bus, gateways = 2, distancesMs = [], ...more } = options;
    const admin = [...adminFlags({ ...database, port }), ...(more.adminFlags ?? [])];
    const ofGateways = [...DRAIN_AT_ONCE, ...(more.gatewayFlags ?? [])];
    if (bus === 'memory') {
      const gateway = gatewayFlags({ name: 'gw1', port: await freePort() });
      return this.#planProgram('admin', ['start', ...admin, ...gateway, ...ofGateways]);
    }
    await this.#planProgram('admin', ['admin', ...admin, '--redis-url', this.redis.url]);
    for (let n = 1; n <= gateways; n++) {
      // One with several workers, the others with as few processes as can be.
      const flags = ['--workers', n === 1 ? '2' : '1', ...ofGateways];
      const distanceMs = distancesMs[n - 1];
      await this.addGateway(`gw${n}`, { flags, ...(distanceMs !== undefined && { distanceMs }) });
    }
  }

  async #planProgram(name: string, args: readonly string[], run?: Run): Promise<void> {
    const { clocks, logLevel = 'warn' } = this.#parts.options;
    const offMs = clocks?.[name];
    if (offMs !== undefined) await this.#programs.shiftClock(name, offMs);
    this.#programs.plan(name, {
      args: [...args, '--log-level', logLevel],
      ...(offMs !== undefined && { env: this.#programs.clockEnvironment(name) }),
      ...(run && { run }),
    });
  }

  /**
   * Settles on what a gateway is to be started with; its port is free now. Devices dial `dialed`, or a proxy
   * when they are far away; the port of the gateway when both are absent.
   */
  async addGateway(
    name: string,
    more: { flags?: readonly string[]; dialed?: number; distanceMs?: number; run?: Run } = {},
  ): Promise<{ port: number }> {
    const port = await freePort();
    const dialed = more.distanceMs === undefined ? more.dialed : await this.#farFrom(port, more.distanceMs);
    const flags = [...gatewayFlags({ name, port, dialed }), ...this.joinFlags(name), ...(more.flags ?? [])];
    await this.#planProgram(name, ['gateway', ...flags, '--redis-url', this.redis.url], more.run);
    return { port };
  }

  async #farFrom(port: number, distanceMs: number): Promise<number> {
    const proxy = await TcpProxy.start(port);
    this.#proxies.push(proxy);
    proxy.slow(distanceMs / 2);
    return proxy.port;
  }

  /** Of the database, into `file`, which is not there yet. */
  backUp(file: string): Promise<void> {
    return backUp(this.#parts.database, file);
  }

  /** While the administration server does not run. */
  restore(file: string): Promise<void> {
    return restore(this.#parts.database, file);
  }

  /** With `data`, the folder of the administration server. */
  get folder(): string {
    return this.#programs.folder;
  }

  get redis(): RedisServer {
    const { redis } = this.#parts;
    if (!redis) throw new Error('this deployment has no Redis');
    return redis;
  }

  get postgres(): PostgresServer {
    const { postgres } = this.#parts;
    if (!postgres) throw new Error('this deployment has no PostgreSQL');
    return postgres;
  }

  /** Of PostgreSQL. */
  get databaseUrl(): string {
    const { databaseUrl } = this.#parts.database;
    if (databaseUrl === undefined) throw new Error('this deployment has no PostgreSQL');
    return databaseUrl;
  }

  get programs(): string[] {
    return this.#programs.names;
  }

  get gateways(): string[] {
    return this.#parts.options.bus === 'memory' ? ['gw1'] : this.programs.filter((name) => name !== 'admin');
  }

  /** The first token, which `admin` keeps in its data folder. */
  get token(): string {
    return this.#token;
  }

  /** With the first token. */
  get api(): ApiClient {
    return this.apiAs(this.#token);
  }

  apiAs(token: string): ApiClient {
    return new ApiClient({ server: this.server, token, timeoutMs: 30_000 });
  }

  /** Starts a program that does not run; resolves when it serves. */
  async start(name: string): Promise<void> {
    await this.letIn(name);
    await this.#programs.start(name);
    this.#token ||= (await readFile(join(this.folder, 'data', 'admin-token'), 'utf8')).trim();
  }

  /** What a gateway of this deployment joins with, once it was let in. */
  joinFlags(name: string): string[] {
    return joinFlags(name, join(this.folder, 'data'));
  }

  /** Where a gateway keeps what it is known by. */
  identityFolder(name: string): string {
    return join(this.folder, 'data', 'gateways', name);
  }

  /** Makes the token with which a gateway joins, unless it has one. */
  async letIn(name: string): Promise<void> {
    if (name === 'admin' || this.#token === '') return;
    const file = join(this.folder, 'data', 'join-tokens', name);
    if (existsSync(file)) return;
    const made = await this.api.request<{ token: string }>('POST', '/v1/join-tokens', {
      body: { gateway: name },
    });
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, made.token);
  }

  /** The same, and does not wait until it serves. */
  async launch(name: string): Promise<void> {
    await this.letIn(name);
    await this.#programs.launch(name);
  }

  /** A program that was started beside the others, and is stopped with them. */
  take(name: string, program: Program): Program {
    return this.#programs.take(name, program);
  }

  /** Kills a program with its workers, as when its machine dies; resolves when it is gone. */
  kill(name: string): Promise<void> {
    return this.#programs.kill(name);
  }

  /** Asks a program to stop in order; resolves when it has. */
  end(name: string): Promise<void> {
    return this.#programs.end(name);
  }

  /** A program stands still, with its workers, until it is thawed. */
  freeze(name: string): void {
    this.#programs.signalGroup(name, 'SIGSTOP');
  }

  thaw(name: string): void {
    this.#programs.signalGroup(name, 'SIGCONT');
  }

  /** The process that runs, or ran last, under this name. */
  program(name: string): Program {
    return this.#programs.program(name);
  }

  running(name: string): boolean {
    return this.#programs.running(name);
  }

  /** Names of programs that wrote a line with this text. */
  whoSaid(text: string): string[] {
    return this.#programs.whoSaid(text);
  }

  /** A test begins: `lastWords` are of what comes now. */
  begin(): void {
    this.#programs.begin();
  }

  /** What the programs wrote last, for the message of a test that fails. */
  lastWords(lines?: number): string {
    return this.#programs.lastWords(lines);
  }

  /** Idempotent. Programs that hang are killed. */
  async stop(): Promise<void> {
    await this.#programs.stop();
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()));
    await this.#parts.redis?.stop();
    await this.#parts.postgres?.stop();
  }
}

type Run = (args: readonly string[], folder: string) => Program;
