/**
 * The programs under test: Redis, one administration server, gateways, agents, and the command line's
 * tunnels.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GatewayDocument } from '../../admin-api/http/schemas/gateways.ts';
import type { AuditEntryDocument } from '../../admin-api/http/schemas/operations.ts';
import { ApiClient } from '../../cli/api/api-client.ts';
import type { TunnelView } from '../../cli/api/views.ts';
import { type Program, startCli } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { freePort, waitFor } from '../wait.ts';

export const MAIN = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

export interface AgentAt {
  id: string;
  program: Program;
}

export interface TunnelProgram {
  program: Program;
  /** Local port. */
  port: number;
}

/** Of a limit that a suite of many tunnels does not reach. */
const MANY = '1000';

export class Deployment {
  readonly server: string;
  readonly token: string;
  readonly api: ApiClient;
  readonly folder: string;
  readonly #redis: RedisServer;
  readonly #programs = new Map<string, Program>();
  /** Lines that each program had written when the scenario began. */
  readonly #before = new Map<Program, number>();
  #started = 0;

  private constructor(parts: { server: string; token: string; folder: string; redis: RedisServer }) {
    this.server = parts.server;
    this.token = parts.token;
    this.folder = parts.folder;
    this.#redis = parts.redis;
    this.api = this.apiAs(parts.token);
  }

  static async start(): Promise<Deployment> {
    const folder = await mkdtemp(join(tmpdir(), 'tunnels-'));
    const redis = await startRedis();
    const port = await freePort();
    const dataDir = join(folder, 'data');
    const admin = startCli(
      [
        ...['admin', '--data-dir', dataDir, '--api-port', String(port), '--redis-url', redis.url],
        ...['--tunnels-per-device', MANY, '--tunnels-per-operator', MANY],
      ],
      { cwd: folder },
    );
    try {
      await admin.waitForLine(/^ready /, 30_000);
      const token = (await readFile(join(dataDir, 'admin-token'), 'utf8')).trim();
      const deployment = new Deployment({ server: `http://127.0.0.1:${port}`, token, folder, redis });
      deployment.#programs.set('admin', admin);
      return deployment;
    } catch (error) {
      const said = admin.output;
      await admin.stop();
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
      throw new Error(`the administration server did not start:\n${said}`, { cause: error });
    }
  }

  apiAs(token: string): ApiClient {
    return new ApiClient({ server: this.server, token, timeoutMs: 30_000 });
  }

  /** A token with that role. */
  async tokenAs(role: 'viewer' | 'operator'): Promise<string> {
    const body = { name: role, role };
    return (await this.api.request<{ token: string }>('POST', '/v1/tokens', { body })).token;
  }

  async group(id: string): Promise<void> {
    await this.api.request('POST', '/v1/groups', { body: { id, name: id } });
  }

  async enrolmentToken(groupId: string, uses = 1): Promise<string> {
    const body = { groupId, uses };
    return (await this.api.request<{ token: string }>('POST', '/v1/enrolment-tokens', { body })).token;
  }

  /**
   * A gateway for one group; `proxyPort` is where devices and operators are told to dial, its own port when
   * absent.
   */
  async startGateway(
    name: string,
    group: string,
    { workers = 1, proxyPort }: { workers?: number; proxyPort?: number } = {},
  ): Promise<{ program: Program; port: number }> {
    const port = await freePort();
    const program = startCli(
      [
        ...[
          'gateway',
          '--name',
          name,
          '--gateway-group',
          group,
          '--host',
          '127.0.0.1',
          '--port',
          String(port),
        ],
        ...['--address', `ws://127.0.0.1:${proxyPort ?? port}`, '--metrics-port', '0'],
        ...['--workers', String(workers), '--redis-url', this.#redis.url],
      ],
      { cwd: this.folder },
    );
    this.#programs.set(name, program);
    await program.waitForLine(/^ready /, 30_000);
    await waitFor(async () => (await this.gateway(name)).state === 'up', { what: `${name} to be up` });
    return { program, port };
  }

  gateway(name: string): Promise<GatewayDocument> {
    return this.api.get(`/v1/gateways/${name}`);
  }

  /** The reference agent, connected, with what its configuration allows tunnels to. */
  async startAgent(name: string, group: string, allow: readonly (string | number)[]): Promise<AgentAt> {
    const config = join(this.folder, `${name}.yaml`);
    await writeFile(
      config,
      `tunnels:\n  allow: [${allow.map((entry) => JSON.stringify(entry)).join(', ')}]\n  max: 100\n`,
    );
    const program = startCli(
      ['agent', '--config', config, '--name', name, '--state', join(this.folder, `${name}-state`)],
      {
        cwd: this.folder,
        env: { PUSHPOINT_SERVER: this.server, PUSHPOINT_ENROLMENT_TOKEN: await this.enrolmentToken(group) },
      },
    );
    this.#programs.set(name, program);
    const ready = await program.waitForLine(/^ready /, 30_000);
    const { device: id } = JSON.parse(ready.slice(ready.indexOf('{'))) as { device: string };
    await waitFor(
      async () => (await this.api.get<{ state: string }>(`/v1/devices/${id}`)).state === 'connected',
      {
        what: `${name} to be connected`,
      },
    );
    return { id, program };
  }

  /** Environment of the operators' commands. */
  get operatorEnv(): Record<string, string> {
    return { PUSHPOINT_SERVER: this.server, PUSHPOINT_TOKEN: this.token };
  }

  /** `pushpoint tunnel` on a free local port, ready to be connected to. */
  async startTunnel(device: string, port: number, ...flags: string[]): Promise<TunnelProgram> {
    const args = ['tunnel', device, String(port), ...flags];
    const program = startCli(args, { cwd: this.folder, env: this.operatorEnv });
    this.#programs.set(`tunnel ${++this.#started}`, program);
    const line = await program.waitForLine(/^Listening on /, 30_000);
    return { program, port: Number(line.slice(line.lastIndexOf(':') + 1)) };
  }

  tunnel(id: string): Promise<TunnelView> {
    return this.api.get(`/v1/tunnels/${id}`);
  }

  /** The newest tunnel to a device. */
  async newestTunnel(device: string): Promise<TunnelView> {
    const [newest] = (await this.api.list<TunnelView>('/v1/tunnels', { device }, 1)).items;
    if (!newest) throw new Error(`there is no tunnel to ${device}`);
    return newest;
  }

  async audit(action: string, subject: string): Promise<AuditEntryDocument[]> {
    const { items } = await this.api.list<AuditEntryDocument>('/v1/audit', {}, 5_000);
    return items.filter((entry) => entry.action === action && entry.subject === subject);
  }

  /** Whatever a program of the deployment wrote that holds this text: names of programs. */
  whoSaid(text: string): string[] {
    return [...this.#programs].filter(([, { output }]) => output.includes(text)).map(([name]) => name);
  }

  /** A scenario begins: `lastWords` are of what comes now. */
  begin(): void {
    for (const program of this.#programs.values()) this.#before.set(program, program.lines.length);
  }

  /** What the programs wrote last since `begin`; nothing of those that wrote nothing. */
  lastWords(lines = 40): string {
    return [...this.#programs]
      .map(([name, program]) => ({ name, said: program.lines.slice(this.#before.get(program) ?? 0) }))
      .filter(({ said }) => said.length > 0)
      .flatMap(({ name, said }) => [`---- ${name}`, ...said.slice(-lines).map((line) => line.slice(0, 500))])
      .join('\n');
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    const programs = [...this.#programs.values()].reverse();
    await Promise.all(programs.slice(0, -1).map((program) => program.stop(3_000)));
    await programs.at(-1)?.stop(5_000);
    await this.#redis.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
