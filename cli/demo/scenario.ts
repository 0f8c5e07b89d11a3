/** The steps of the demo; each uses the HTTP API, as an operator would. */
import { setTimeout as pause } from 'node:timers/promises';
import { nanoid } from 'nanoid';
import type { ApiClient } from '../api/api-client.ts';
import { followCommand } from '../api/follow.ts';
import type { CommandView, DeviceView, EnrolmentTokenView, ExecutionView, GroupView } from '../api/views.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { forEachAtOnce } from '../for-each-at-once.ts';
import { countsText } from '../operator/execution-table.ts';
import { DemoDevice } from './fleet.ts';
import type { Given } from './reckoning.ts';

const GROUPS = ['berlin', 'paris', 'warsaw', 'lisbon'];
/** Share of devices that lose power, and share of a sync that must be done by then. */
const KILLED_SHARE = 0.1;
const KILL_AT_SHARE = 0.3;
const AWAY_MS = 1_000;
const STEP_LIMIT_MS = 60_000;

export interface ScenarioParts {
  api: ApiClient;
  signal: AbortSignal;
  /** Reports what happens, for people. */
  tell: (text: string) => void;
}

export class Scenario {
  readonly fleet: DemoDevice[];
  readonly given: Given[] = [];
  readonly #parts: ScenarioParts;
  /** Called whenever a device completes a run. */
  #watch: (command: string) => void = () => {};

  constructor(devices: number, parts: ScenarioParts) {
    this.#parts = parts;
    this.fleet = Array.from({ length: devices }, (_, index) => {
      const group = GROUPS[index % GROUPS.length] ?? '';
      const name = `${group}-${String(index).padStart(4, '0')}`;
      return new DemoDevice(name, group, (command) => this.#watch(command));
    });
  }

  async enrol(): Promise<void> {
    const { api, tell } = this.#parts;
    const began = Date.now();
    for (const group of GROUPS) {
      const members = this.fleet.filter((device) => device.group === group);
      if (members.length === 0) continue;
      await api.request<GroupView>('POST', '/v1/groups', { body: { name: group, id: group } });
      const { token } = await api.request<EnrolmentTokenView>('POST', '/v1/enrolment-tokens', {
        body: { groupId: group, uses: members.length, ttl: 3_600, note: 'demo' },
      });
      await forEachAtOnce(members, 16, (device) => device.enrol(api.server, token ?? ''));
    }
    tell(`${this.fleet.length} devices enrolled in ${GROUPS.length} groups, ${seconds(began)}`);
  }

  async connect(): Promise<void> {
    const { api, tell } = this.#parts;
    const began = Date.now();
    await forEachAtOnce(this.fleet, 50, (device) => device.start());
    await this.#until('every device is connected', () => this.fleet.every((device) => device.connected));
    await this.#until('the administration server knows', async () => {
      const query = { state: 'connected' };
      const page = await api.list<DeviceView>('/v1/devices', query, this.fleet.length);
      return page.items.length === this.fleet.length;
    });
    tell(`all of them connected over WebSockets, ${seconds(began)}`);
  }

  async syncGroup(): Promise<void> {
    const group = GROUPS[0] ?? '';
    const members = this.fleet.filter((device) => device.group === group);
    const command = await this.#command('sync', {}, { group }, members);
    const began = Date.now();
    const done = await this.#follow(command);
    this.#parts.tell(
      `forced sync of group ${group}: ${countsText(done.counts)} of ${done.counts.total}, ${seconds(began)}`,
    );
  }

  async startAndStopTask(): Promise<void> {
    const { api, tell } = this.#parts;
    const device = this.fleet.at(-1) as DemoDevice;
    const target = { devices: [device.id] };
    const start = await this.#command('task.start', { task: 'backup' }, target, [device]);
    await this.#until('the task runs', async () => {
      const path = `/v1/commands/${start.id}/executions`;
      return (await api.get<{ items: ExecutionView[] }>(path)).items[0]?.state === 'running';
    });
    const stop = await this.#command('task.stop', { task: 'backup' }, target, [device]);
    await Promise.all([this.#follow(stop), this.#follow(start)]);
    tell(`task "backup" on ${device.name}: started, seen running, stopped`);
  }

  async statistics(): Promise<void> {
    const { api, tell } = this.#parts;
    const group = GROUPS[1] ?? '';
    const members = this.fleet.filter((device) => device.group === group);
    if (members.length === 0) return;
    const command = await this.#command('statistics', {}, { group }, members);
    const done = await this.#follow(command);
    const path = `/v1/commands/${command.id}/executions`;
    const sample = (await api.get<{ items: ExecutionView[] }>(path, { limit: 1, data: true })).items[0];
    tell(
      `statistics of group ${group}: ${done.counts.succeeded} answers, for example ` +
        `${JSON.stringify(sample?.data)}`,
    );
  }

  /** A sync on all; some devices lose power in the middle, and come back. */
  async syncAllWithPowerCut(): Promise<void> {
    const { tell } = this.#parts;
    const began = Date.now();
    const command = await this.#command('sync', {}, { all: true }, this.fleet);
    const enough = Math.ceil(this.fleet.length * KILL_AT_SHARE);
    const step = Math.round(1 / KILLED_SHARE);
    const victims = this.fleet.filter((_, index) => index % step === 0);
    let cutShort = 0;
    let deaths: Promise<unknown> | undefined;
    const check = (): void => {
      if (deaths !== undefined || this.#done(command) < enough) return;
      cutShort = victims.filter(({ runs }) => runs.get(command.id)?.completed === 0).length;
      deaths = Promise.all(victims.map((device) => device.kill()));
      tell(
        `forced sync of all: with ${this.#done(command)} done, ${victims.length} devices lose power, ` +
          `${cutShort} of them while synchronising`,
      );
    };
    this.#watch = check;
    check();
    await this.#until('part of the sync is done', () => deaths !== undefined);
    await deaths;
    await pause(AWAY_MS);
    await Promise.all(victims.map((device) => device.start()));
    const done = await this.#follow(command);
    tell(`  they came back: ${countsText(done.counts)} of ${done.counts.total}, ${seconds(began)}`);
  }

  #done(command: CommandView): number {
    return this.fleet.filter((device) => device.completed(command.id) > 0).length;
  }

  async stop(): Promise<void> {
    await Promise.all(this.fleet.map((device) => device.stop()));
  }

  async #command(
    type: string,
    args: object,
    target: object,
    devices: readonly DemoDevice[],
  ): Promise<CommandView> {
    const command = await this.#parts.api.request<CommandView>('POST', '/v1/commands', {
      body: { type, args, target },
      headers: { 'idempotency-key': nanoid() },
    });
    this.given.push({ command, devices });
    return command;
  }

  #follow(command: CommandView): Promise<CommandView> {
    const { api, signal } = this.#parts;
    return followCommand({ api, commandId: command.id, signal, waitTimeoutMs: STEP_LIMIT_MS });
  }

  async #until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = Date.now() + STEP_LIMIT_MS;
    while (!(await condition())) {
      if (this.#parts.signal.aborted) throw new CliError(EXIT.interrupted, 'Interrupted.');
      if (Date.now() > deadline) throw new CliError(EXIT.fault, `Waited in vain until ${what}.`);
      await pause(20);
    }
  }
}

export function seconds(since: number): string {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}
