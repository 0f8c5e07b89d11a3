/** The programs under test: Redis, one administration server on SQLite, gateways of two workers each. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Deployment, prepare } from '../deployment/deployment.ts';
import { findPrograms } from '../services/install.ts';
import { type Exit, Program } from '../services/processes.ts';

export const WORKERS = 2;
/** Devices a gateway sends away per second when they have to leave. */
export const DRAIN_PER_SECOND = 250;

const MAIN = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

export class GatewayDeployment extends Deployment {
  /**
   * What runs gateways as somebody without the privilege to listen on low ports; empty when nobody here has
   * it.
   */
  #unprivileged: readonly string[] = [];

  static override async start(): Promise<GatewayDeployment> {
    const deployment = new GatewayDeployment(await prepare({ bus: 'redis', gateways: 0 }));
    deployment.#unprivileged = await unprivileged();
    return deployment.begun();
  }

  /** Settles on what a gateway is to be started with. */
  async addLimited(name: string, connectionLimit: number): Promise<void> {
    const limits = ['--workers', String(WORKERS), '--connection-limit', String(connectionLimit)];
    const flags = [...limits, '--drain-per-second', String(DRAIN_PER_SECOND)];
    await this.addGateway(name, { flags, run: (args) => this.#run(args) });
  }

  /** Runs `pushpoint gateway` with the deployment's Redis; the caller stops it. */
  async runGateway(name: string, flags: readonly string[]): Promise<Program> {
    await this.letIn(name);
    const deployment = ['--redis-url', this.redis.url, '--metrics-port', '0', '--log-level', 'warn'];
    return this.#run(['gateway', '--name', name, ...this.joinFlags(name), ...flags, ...deployment]);
  }

  /** Puts back an earlier database and begins a new epoch, as docs/operations.md says. */
  async databaseRestored(file: string): Promise<void> {
    await this.end('admin');
    await this.restore(file);
    const flags = ['--data-dir', join(this.folder, 'data'), '--redis-url', this.redis.url];
    const { code, signal } = await this.#run(['restored', ...flags]).exited;
    if (code !== 0) throw new Error(`pushpoint restored ended with ${signal ?? code}`);
    await this.start('admin');
  }

  /** SIGTERM; resolves when the process has ended. */
  async stopGateway(name: string): Promise<Exit> {
    return this.program(name).stop(30_000);
  }

  #run(args: readonly string[]): Program {
    const [command = '', ...more] = [...this.#unprivileged, process.execPath, MAIN, ...args];
    return new Program(command, more, { cwd: this.folder });
  }
}

/** root keeps what it needs to read its files, and loses what a privileged port takes. */
async function unprivileged(): Promise<string[]> {
  if (process.getuid?.() !== 0) return [];
  const found = await findPrograms(['setpriv'], ['/usr/bin']);
  return found ? [found.setpriv, '--inh-caps=-net_bind_service', '--bounding-set=-net_bind_service'] : [];
}
