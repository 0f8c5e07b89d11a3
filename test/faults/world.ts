/** A deployment with devices on it, and what can be asked of both together. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { StatusDocument } from '../../admin-api/http/schemas/operations.ts';
import type { GatewayView } from '../../cli/api/views.ts';
import { Fleet, type FleetMember } from '../fleet/fleet.ts';
import type { FleetProcess } from '../fleet/fleet-program.ts';
import { Ledger, type Target } from '../fleet/ledger.ts';
import type { Traffic } from '../fleet/traffic.ts';
import { waitFor } from '../wait.ts';
import { Database } from './database.ts';
import { FaultDeployment, type ProgramName, type Shape } from './deployment.ts';
import { PatientApi } from './patient-api.ts';

/** Devices of each group; a third of them live in the process that is killed. */
const GROUPS: Record<string, { parent: string; devices: number }> = {
  left: { parent: 'all', devices: 45 },
  'left-inner': { parent: 'left', devices: 30 },
  right: { parent: 'all', devices: 45 },
};
const WORKERS: Partial<Record<ProgramName, number>> = { gw1: 2 };

export class World {
  readonly deployment: FaultDeployment;
  readonly api: PatientApi;
  readonly fleet: Fleet;
  readonly ledger: Ledger;
  readonly database: Database;
  /** What is sent to the devices now, for a fault that needs quiet. */
  traffic: Traffic | undefined;

  private constructor(deployment: FaultDeployment, fleet: Fleet) {
    this.deployment = deployment;
    this.fleet = fleet;
    this.api = new PatientApi(deployment.servers, deployment.token);
    this.ledger = new Ledger(this.api, fleet);
    this.database = new Database(deployment.database);
  }

  static async start(shape: Shape): Promise<World> {
    const deployment = await FaultDeployment.start(shape);
    const folder = join(deployment.folder, 'devices');
    await mkdir(folder);
    const fleet = new Fleet([
      { env: deployment.clockEnvironment('devices') },
      { env: deployment.clockEnvironment('devices') },
      { folder, env: deployment.clockEnvironment('kept-devices') },
    ]);
    const world = new World(deployment, fleet);
    try {
      await world.#populate();
      return world;
    } catch (error) {
      const said = `${deployment.lastWords()}\n${fleet.lastWords()}`;
      await world.stop();
      throw new Error(`the world did not start:\n${said}`, { cause: error });
    }
  }

  async stop(): Promise<void> {
    await this.fleet.close();
    await this.deployment.stop();
  }

  get devices(): readonly FleetMember[] {
    return [...this.fleet.members.values()];
  }

  /** Whose devices survive it. */
  get keptProcess(): FleetProcess {
    const process = this.fleet.processes.find(({ options }) => options.folder !== undefined);
    if (!process) throw new Error('no process keeps its devices');
    return process;
  }

  get targets(): Target[] {
    const inside = (names: readonly string[]) =>
      this.devices.filter(({ group }) => names.includes(group)).map(({ id }) => id);
    return [
      { group: 'left', devices: inside(['left', 'left-inner']) },
      { group: 'right', devices: inside(['right']) },
      { group: 'left-inner', devices: inside(['left-inner']) },
      { group: 'all', devices: inside(Object.keys(GROUPS)) },
    ];
  }

  /** Does something while nothing is sent to the devices. */
  async quiet(work: () => Promise<void>): Promise<void> {
    await this.traffic?.pause();
    await work();
    this.traffic?.resume();
  }

  /**
   * Resolves with the seconds it took until everything worked: all devices that are to be connected are, by
   * their own word and by the ledger, a command to all, given now, succeeded on every one, and every gateway
   * serves, unless a fault is in force.
   */
  async works(limitMs: number, inForce = false): Promise<number> {
    const began = performance.now();
    const left = () => Math.max(1_000, limitMs - (performance.now() - began));
    await this.#connected(left());
    await this.#commandDone(left());
    await this.#onRecord(left());
    if (!inForce) await this.#gatewaysUp(left());
    return (performance.now() - began) / 1_000;
  }

  async #connected(limitMs: number): Promise<void> {
    const away = () => this.fleet.started.filter(({ where }) => where === null);
    const options = { timeoutMs: limitMs, intervalMs: 50, what: 'devices to be connected' };
    await waitFor(() => away().length === 0, options).catch((error: Error) => {
      throw new Error(`${error.message}; ${away().length} are not:${this.fleet.endingsOf(away())}`);
    });
  }

  /** Nobody has to wait for the resend of an earlier one: whatever it takes, this one is new. */
  async #commandDone(limitMs: number): Promise<void> {
    const devices = this.fleet.started.map(({ id }) => id);
    const { id } = await this.ledger.send('statistics', { group: 'all', devices });
    let counts = await this.ledger.counts(id);
    const done = async () => {
      counts = await this.ledger.counts(id);
      return counts.succeeded === devices.length;
    };
    const options = { timeoutMs: limitMs, intervalMs: 100, what: `command ${id} to be done` };
    await waitFor(done, options).catch((error: Error) => {
      throw new Error(`${error.message}; ${JSON.stringify(counts)}`);
    });
  }

  async #onRecord(limitMs: number): Promise<void> {
    let status: StatusDocument | undefined;
    const same = async () => {
      status = await this.api.get<StatusDocument>('/v1/status');
      return status.devices.connected === this.fleet.started.length;
    };
    await waitFor(same, { timeoutMs: limitMs, intervalMs: 100, what: 'the record' }).catch((error: Error) => {
      throw new Error(`${error.message}; ${JSON.stringify(status)} and ${this.fleet.started.length} started`);
    });
  }

  async #gatewaysUp(limitMs: number): Promise<void> {
    let views: GatewayView[] = [];
    const up = async () => {
      views = (await this.api.get<{ items: GatewayView[] }>('/v1/gateways')).items;
      return this.deployment.gateways.every((name) => {
        const view = views.find((each) => each.name === name);
        return view?.state === 'up' && view.workers.length === (WORKERS[name] ?? 1);
      });
    };
    await waitFor(up, { timeoutMs: limitMs, intervalMs: 200, what: 'gateways to be up' }).catch(
      (error: Error) => {
        throw new Error(`${error.message}; ${JSON.stringify(views)}`);
      },
    );
  }

  async #populate(): Promise<void> {
    await this.#gatewaysUp(60_000);
    for (const [id, { parent, devices }] of Object.entries(GROUPS)) {
      await this.api.request('POST', '/v1/groups', { body: { name: id, id, parentId: parent } });
      const { token } = await this.api.request<{ token: string }>('POST', '/v1/enrolment-tokens', {
        body: { groupId: id, uses: devices },
      });
      await this.fleet.enrol(devices, id, this.deployment.servers[0] ?? '', token);
    }
    await this.fleet.start(this.devices);
    await this.works(60_000);
  }
}
