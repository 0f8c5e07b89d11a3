/**
 * The programs under test as users run them: Redis, one administration server (SQLite unless told otherwise),
 * gateways of several workers, each a process of its own.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Program } from '../../test/services/processes.ts';
import { type RedisServer, startRedis } from '../../test/services/redis.ts';
import { freePort, waitFor } from '../../test/wait.ts';
import { cpuMs, descriptorLimit, processTree, pssBytes } from '../measure/processes.ts';

export interface SiteOptions {
  devices: number;
  /** Makes the database in this folder, with the recorded devices. */
  seed(dataDir: string): Promise<void>;
  databaseUrl: string | undefined;
  /** Names of the gateways, and the port of each; the first one is started, the others by `startGateway`. */
  gateways: readonly string[];
  ports: readonly number[];
  /** Workers of each gateway; enough for the descriptor limit when absent. */
  workers?: number;
  /** Added to the flags of the gateways. */
  gatewayFlags?: readonly string[];
  /** Where the programs leave CPU profiles. */
  profileDir?: string | undefined;
  say(text: string): void;
}

/** Kinds of server processes, measured apart. */
export type Kind = 'gateway' | 'admin' | 'redis';

export interface Usage {
  pss: Record<Kind, number>;
  cpuMs: Record<Kind, number>;
}

const MAIN = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

/** A worker stops listening at 90 % of its descriptors; the kernel's spreading is not exact. */
const FILL = 0.85;

/** As many as the descriptor limit asks for. */
export function workersFor(devices: number): number {
  return Math.max(2, Math.ceil(devices / (descriptorLimit() * FILL)));
}

export class Site {
  readonly workers: number;
  readonly gateways: readonly { name: string; port: number }[];
  readonly #folder: string;
  readonly #options: SiteOptions;
  readonly #programs = new Map<string, Program>();
  #redis: RedisServer | null = null;
  #apiPort = 0;
  #token = '';
  #stopping: Promise<void> | null = null;

  private constructor(options: SiteOptions, folder: string, gateways: Site['gateways']) {
    this.#options = options;
    this.#folder = folder;
    this.gateways = gateways;
    this.workers = options.workers ?? workersFor(options.devices);
  }

  /** Resolves when devices can be admitted. */
  static async start(options: SiteOptions): Promise<Site> {
    const folder = await mkdtemp(join(tmpdir(), 'pushpoint-bench-'));
    const gateways = options.gateways.map((name, index) => ({ name, port: options.ports[index] as number }));
    const site = new Site(options, folder, gateways);
    try {
      await site.#start();
      return site;
    } catch (error) {
      const said = site.lastWords();
      await site.stop();
      throw new Error(`the programs did not start:\n${said}`, { cause: error });
    }
  }

  get redisUrl(): string {
    if (!this.#redis) throw new Error('Redis does not run');
    return this.#redis.url;
  }

  get api(): { port: number; token: string } {
    return { port: this.#apiPort, token: this.#token };
  }

  /** Memory and CPU of the server processes, the workers of the gateways included. */
  usage(): Usage {
    const pids = this.pids();
    const each = <T>(read: (pids: number[]) => T): Record<Kind, T> => ({
      gateway: read(pids.gateway),
      admin: read(pids.admin),
      redis: read(pids.redis),
    });
    return { pss: each(pssBytes), cpuMs: each(cpuMs) };
  }

  pids(): Record<Kind, number[]> {
    const gateways = this.gateways.map(({ name }) => this.#programs.get(name)?.pid ?? -1);
    return {
      gateway: processTree(gateways),
      admin: processTree([this.#programs.get('admin')?.pid ?? -1]),
      redis: this.#redis ? [this.#redis.pid] : [],
    };
  }

  /** The worker processes of a gateway. */
  workerPids(gateway: string): number[] {
    const root = this.#programs.get(gateway)?.pid ?? -1;
    return processTree([root]).filter((pid) => pid !== root);
  }

  /** Kills a gateway with all its workers at once, as a power cut would. */
  async killGateway(name: string): Promise<void> {
    await this.#programs.get(name)?.killGroup();
  }

  /** Resolves when the ledger has it as up; at once when it runs. */
  async startGateway(name: string): Promise<void> {
    if (this.#programs.get(name)?.running) return;
    const port = this.gateways.find((gateway) => gateway.name === name)?.port;
    await this.#programs.get(name)?.stop();
    const args = [
      ...(await this.#joinFlags(name)),
      ...['--name', name, '--host', '0.0.0.0', '--port', String(port), '--metrics-port', '0'],
      ...['--address', `ws://127.0.0.1:${port}`, '--workers', String(this.workers)],
      // All devices come from loopback addresses here, as behind a proxy.
      ...['--shared-addresses', '127.0.0.0/8'],
      ...['--connection-limit', String(this.workers * descriptorLimit())],
      ...[
        '--redis-url',
        this.#redis?.url ?? '',
        '--log-level',
        'warn',
        ...(this.#options.gatewayFlags ?? []),
      ],
    ];
    await this.#run(name, ['gateway', ...args]);
    await waitFor(async () => (await this.get<{ state: string }>(`/v1/gateways/${name}`)).state === 'up', {
      timeoutMs: 30_000,
      what: `${name} to be up`,
    });
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
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #start(): Promise<void> {
    const { devices, seed, databaseUrl, say } = this.#options;
    const dataDir = join(this.#folder, 'data');
    await seed(dataDir);
    say(`${devices} devices recorded`);
    this.#redis = await startRedis();
    this.#apiPort = await freePort();
    const database = databaseUrl === undefined ? [] : ['--database-url', databaseUrl];
    await this.#run('admin', [
      ...[
        'admin',
        '--data-dir',
        dataDir,
        '--api-port',
        String(this.#apiPort),
        '--redis-url',
        this.#redis.url,
      ],
      // Who is where is the scenarios' business.
      ...['--balance-moves-per-second', '0', '--log-level', 'warn', ...database],
    ]);
    this.#token = (await readFile(join(dataDir, 'admin-token'), 'utf8')).trim();
    await this.startGateway((this.gateways[0] as { name: string }).name);
    say(`programs run, ${this.workers} workers`);
  }

  /** The token is in the file once the gateway may join. */
  async #joinFlags(name: string): Promise<string[]> {
    const dataDir = join(this.#folder, 'gateways');
    const file = join(this.#folder, `${name}.join-token`);
    if (!existsSync(file)) {
      const { token } = await this.post<{ token: string }>('/v1/join-tokens', { gateway: name });
      await writeFile(file, token, { mode: 0o600 });
    }
    return ['--data-dir', dataDir, '--join-token-file', file];
  }

  async get<T>(path: string): Promise<T> {
    return this.#request('GET', path);
  }

  async post<T>(path: string, body: unknown): Promise<T> {
    return this.#request('POST', path, body);
  }

  /** The text of the event stream as it comes. */
  async events(query: string, signal: AbortSignal): Promise<AsyncIterable<string>> {
    const response = await fetch(`http://127.0.0.1:${this.#apiPort}/v1/events?${query}`, {
      headers: { authorization: `Bearer ${this.#token}` },
      signal,
    });
    if (!response.ok || !response.body) throw new Error(`GET /v1/events: ${response.status}`);
    return response.body.pipeThrough(new TextDecoderStream());
  }

  async #request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.#apiPort}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 300)}`);
    return JSON.parse(text) as T;
  }

  async #run(name: string, args: readonly string[]): Promise<void> {
    const { profileDir } = this.#options;
    // Workers are forked with the flags of their supervisor.
    const flags = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`];
    const program = new Program(process.execPath, [...flags, MAIN, ...args], { cwd: this.#folder });
    this.#programs.set(name, program);
    // The directory is written before: a signature for each device.
    await program.waitForLine(/^ready /, 30_000 + this.#options.devices);
  }

  async #stop(): Promise<void> {
    // Profiles are written at an orderly end.
    const [gatewayMs, adminMs] = this.#options.profileDir === undefined ? [2_000, 5_000] : [30_000, 30_000];
    const names = [...this.#programs.keys()].filter((name) => name !== 'admin');
    await Promise.all(names.map((name) => this.#programs.get(name)?.stop(gatewayMs)));
    await this.#programs.get('admin')?.stop(adminMs);
    await this.#redis?.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
