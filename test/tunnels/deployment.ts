/**
 * The programs under test: Redis, one administration server, gateways, agents, and the command line's
 * tunnels.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GatewayDocument } from '../../admin-api/http/schemas/gateways.ts';
import type { AuditEntryDocument } from '../../admin-api/http/schemas/operations.ts';
import type { TunnelView } from '../../cli/api/views.ts';
import { Deployment, prepare } from '../deployment/deployment.ts';
import { type Program, startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';

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

export class TunnelDeployment extends Deployment {
  #started = 0;

  static override async start(): Promise<TunnelDeployment> {
    const adminFlags = ['--tunnels-per-device', MANY, '--tunnels-per-operator', MANY];
    const options = { bus: 'redis', gateways: 0, logLevel: 'info', adminFlags } as const;
    return new TunnelDeployment(await prepare(options)).begun();
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
    const flags = ['--gateway-group', group, '--workers', String(workers)];
    const { port } = await this.addGateway(name, {
      flags,
      ...(proxyPort !== undefined && { dialed: proxyPort }),
    });
    await this.start(name);
    await waitFor(async () => (await this.gateway(name)).state === 'up', { what: `${name} to be up` });
    return { program: this.program(name), port };
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
    this.take(name, program);
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
    this.take(`tunnel ${++this.#started}`, program);
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
}
