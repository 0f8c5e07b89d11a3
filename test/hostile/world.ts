/**
 * A deployment of real programs, honest devices and an honest operator, and what can be asked of the
 * programs.
 */

import type { TestDevice } from '../e2e/fleet.ts';
import { Lab } from '../e2e/lab.ts';
import { freePort } from '../wait.ts';
import { fleetClosings, type Harm } from './harm.ts';

const FLEET = 20;
/** Small enough for a few hundred sockets to be many. */
const GATEWAY = [
  ...['--handshake-timeout', '2s', '--max-unauthenticated', '200', '--upgrades-per-second', '150'],
] as const;

export class World {
  readonly lab: Lab;
  readonly fleet: TestDevice[];
  readonly gatewayUrl: string;
  readonly #metricsPort: number;

  private constructor(lab: Lab, fleet: TestDevice[], gatewayUrl: string, metricsPort: number) {
    this.lab = lab;
    this.fleet = fleet;
    this.gatewayUrl = gatewayUrl;
    this.#metricsPort = metricsPort;
  }

  static async start(): Promise<World> {
    const metricsPort = await freePort();
    const gatewayFlags = [...GATEWAY, '--metrics-port', String(metricsPort)];
    const lab = await Lab.start({ bus: 'redis', gateways: 1, gatewayFlags });
    const fleet = await lab.fleet(FLEET);
    const [gateway] = (await lab.operator.gateways()).items;
    return new World(lab, fleet, `${gateway?.address}/`, metricsPort);
  }

  get server(): string {
    return this.lab.deployment.server;
  }

  stop(): Promise<void> {
    return this.lab.stop();
  }

  /** A gateway's metric, its workers added up, or only lines with `label`. */
  gateway(name: string, label = ''): Promise<number> {
    return metric(`http://127.0.0.1:${this.#metricsPort}/metrics`, `pushpoint_gateway_${name}`, label);
  }

  admin(name: string, label = ''): Promise<number> {
    return metric(`${this.server}/metrics`, `pushpoint_admin_${name}`, label);
  }

  /**
   * Honest work beside an attack: every device of the fleet is reached, and a new one enrols, connects and is
   * reached.
   */
  async honestWork(): Promise<void> {
    const { lab, fleet } = this;
    const { id } = await lab.operator.send('sync', fleet);
    const { counts } = await lab.operator.finished(id, 30_000);
    if (counts.succeeded !== FLEET) throw new Error(`a sync of the fleet: ${JSON.stringify(counts)}`);
    const newcomer = await lab.device();
    const { id: mine } = await lab.operator.send('statistics', [newcomer]);
    await lab.operator.reaches(mine, newcomer, 'succeeded');
    await newcomer.stop();
  }

  /** What happened to those who did nothing wrong. */
  async harm(): Promise<Harm[]> {
    const found = fleetClosings(this.fleet);
    for (const name of this.lab.deployment.programs) {
      if (!this.lab.deployment.running(name)) found.push(`${name} ended`);
    }
    const restarts = await this.gateway('worker_restarts_total');
    if (restarts > 0) found.push(`${restarts} workers were restarted`);
    const faults = await this.gateway('faults_total');
    if (faults > 0) found.push(`${faults} faults in handlers of the gateway`);
    for (const path of ['/live', '/ready']) {
      const { status } = await fetch(this.server + path);
      if (status !== 200) found.push(`the server answers ${status} at ${path}`);
    }
    return found;
  }
}

async function metric(url: string, name: string, label: string): Promise<number> {
  const text = await (await fetch(url)).text();
  return text
    .split('\n')
    .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(label))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
