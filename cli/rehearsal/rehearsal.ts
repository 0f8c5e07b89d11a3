/**
 * The storm rehearsal: simulated devices in their own group connect to one gateway and lose it all at once,
 * as if it had died. The rehearsal measures until each is back elsewhere and has answered a command. The
 * gateway itself is not touched: only these devices stop reaching it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { customAlphabet, nanoid } from 'nanoid';
import { REHEARSAL_PREFIX } from '../../admin-api/balance/rehearsals.ts';
import type { ApiClient } from '../api/api-client.ts';
import { readEventStream, type StreamEvent } from '../api/event-stream.ts';
import type { CommandView, EnrolmentTokenView, GatewayView, GroupView } from '../api/views.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { forEachAtOnce } from '../for-each-at-once.ts';
import { Returns, type Times } from './returns.ts';
import { SimulatedDevice } from './simulated-device.ts';

const ENROL_AT_ONCE = 16;
const CONNECT_AT_ONCE = 50;
const LOOK_MS = 50;
/** How long enrolling or connecting may make no progress before it is given up. */
const STANDSTILL_MS = 60_000;

const suffix = customAlphabet('0123456789abcdefghjkmnpqrstvwxyz', 8);

export interface RehearsalParts {
  api: ApiClient;
  gateway: string;
  devices: number;
  /** After the loss, milliseconds. */
  waitTimeoutMs: number;
  signal: AbortSignal;
  /** Reports progress, for people. */
  progress: (text: string) => void;
}

export interface RehearsalReport {
  gateway: string;
  devices: number;
  /** Seconds from the loss until this percentage of devices was welcomed by another gateway. */
  back: Times;
  /** The same until a command had reached them and its outcome was stored. */
  working: Times;
  /** Number of devices by new gateway. */
  went: Record<string, number>;
  /** Devices that did not work again in time. */
  missing: number;
}

export class Rehearsal {
  /** Id of the group with the simulated devices. */
  readonly group = `${REHEARSAL_PREFIX}${suffix()}`;
  readonly #parts: RehearsalParts;
  readonly #fleet: SimulatedDevice[];
  readonly #went = new Map<string, string>();
  #back: Returns | undefined;
  #made = false;

  constructor(parts: RehearsalParts) {
    this.#parts = parts;
    this.#fleet = Array.from(
      { length: parts.devices },
      (_, index) =>
        new SimulatedDevice(`${this.group}-${index + 1}`, {
          connected: (device, gateway) => this.#connected(device, gateway),
        }),
    );
  }

  async run(): Promise<RehearsalReport> {
    const gateway = await this.#checked();
    await this.#enrol(gateway.groupId);
    await this.#connect(gateway);
    return this.#lose(gateway);
  }

  /** The server may hold objects of this rehearsal. */
  get made(): boolean {
    return this.#made;
  }

  /** Stops the simulated devices; `cleanUpGroup` removes them from the server. */
  async stop(): Promise<void> {
    await Promise.all(this.#fleet.map((device) => device.stop()));
  }

  /** Refuses a rehearsal that would harm real devices or measure nothing. */
  async #checked(): Promise<GatewayView> {
    const { api, devices } = this.#parts;
    const gateways = (await api.list<GatewayView>('/v1/gateways', {}, Number.MAX_SAFE_INTEGER)).items;
    const gateway = gateways.find(({ name }) => name === this.#parts.gateway);
    if (!gateway) throw new CliError(EXIT.refused, `There is no gateway ${this.#parts.gateway}.`);
    if (gateway.state !== 'up') {
      throw new CliError(
        EXIT.refused,
        `Gateway ${gateway.name} is ${gateway.state}: nothing connects to it now.`,
      );
    }
    const group = await api.get<GroupView>(`/v1/groups/${encodeURIComponent(gateway.groupId)}`);
    const others = gateways.filter(
      ({ name, state, groupId }) => name !== gateway.name && state === 'up' && isOnPath(groupId, group.path),
    );
    if (others.length === 0) {
      throw new CliError(
        EXIT.refused,
        `No other gateway that is up serves the group of ${gateway.name}: nobody could go anywhere.`,
      );
    }
    const room = (all: readonly GatewayView[]): number =>
      all.reduce((sum, { load }) => sum + Math.max(0, load.limit - load.connections), 0);
    for (const [who, free] of [
      [gateway.name, room([gateway])],
      [others.map(({ name }) => name).join(', '), room(others)],
    ] as const) {
      if (free < devices) {
        throw new CliError(
          EXIT.refused,
          `${who}: room for ${free} more devices, ${devices} are asked for. Real devices are not ` +
            'pushed out: take fewer.',
        );
      }
    }
    return gateway;
  }

  async #enrol(parentId: string): Promise<void> {
    const { api, devices, signal, progress } = this.#parts;
    this.#made = true;
    await api.request('POST', '/v1/groups', {
      body: { id: this.group, name: `Rehearsal ${this.group}`, parentId },
    });
    const { token } = await api.request<EnrolmentTokenView>('POST', '/v1/enrolment-tokens', {
      body: { groupId: this.group, uses: devices, ttl: 3_600, note: 'rehearsal' },
    });
    let enrolled = 0;
    await forEachAtOnce(this.#fleet, ENROL_AT_ONCE, async (device) => {
      this.#assertGoing();
      await device.enrol(api.server, token ?? '', signal).catch((error: unknown) => {
        this.#assertGoing();
        throw error;
      });
      progress(`enrolled ${++enrolled} of ${devices}`);
    });
  }

  async #connect({ name, told, address: set }: GatewayView): Promise<void> {
    const address = told ?? set;
    const { devices, progress } = this.#parts;
    await forEachAtOnce(this.#fleet, CONNECT_AT_ONCE, (device) => {
      this.#assertGoing();
      return device.start({ name, url: address });
    });
    let most = -1;
    let since = performance.now();
    for (;;) {
      const here = this.#fleet.filter((device) => device.gateway === name).length;
      progress(`connected to ${name}: ${here} of ${devices}`);
      if (here === devices) return;
      if (here > most) since = performance.now();
      most = Math.max(most, here);
      if (performance.now() - since > STANDSTILL_MS) {
        throw new CliError(
          EXIT.fault,
          `Only ${here} of ${devices} devices are connected to ${name} at ${address}.`,
        );
      }
      await this.#pause();
    }
  }

  async #lose({ name, told, address: set }: GatewayView): Promise<RehearsalReport> {
    const address = told ?? set;
    const { api, devices, waitTimeoutMs, progress } = this.#parts;
    const stream = new OutcomeStream(api);
    try {
      await stream.start();
      const working = new Returns(devices);
      const back = new Returns(devices);
      this.#back = back;
      const deadline = performance.now() + waitTimeoutMs;
      for (const device of this.#fleet) device.cutOff(address);
      const command = await api.request<CommandView>('POST', '/v1/commands', {
        body: {
          type: 'message',
          args: { topic: 'rehearsal' },
          target: { group: this.group },
          ttl: Math.ceil(waitTimeoutMs / 1_000) + 60,
        },
        headers: { 'idempotency-key': nanoid() },
      });
      stream.follow(command.id, (device) => working.note(device));
      while (!working.complete && performance.now() < deadline) {
        await this.#pause();
        progress(`${name} is gone: ${back.count} of ${devices} back, ${working.count} working`);
      }
      return {
        gateway: name,
        devices,
        back: back.times(),
        working: working.times(),
        went: this.#tally(),
        missing: devices - working.count,
      };
    } finally {
      await stream.stop();
    }
  }

  #connected(device: SimulatedDevice, gateway: string): void {
    if (!this.#back || gateway === this.#parts.gateway) return;
    this.#back.note(device.id);
    this.#went.set(device.id, gateway);
  }

  #tally(): Record<string, number> {
    const tally: Record<string, number> = {};
    for (const gateway of this.#went.values()) tally[gateway] = (tally[gateway] ?? 0) + 1;
    return tally;
  }

  async #pause(): Promise<void> {
    await pause(LOOK_MS);
    this.#assertGoing();
  }

  #assertGoing(): void {
    if (this.#parts.signal.aborted) throw new CliError(EXIT.interrupted, 'Interrupted.');
  }
}

/**
 * Devices whose outcome of one command the events report as stored, including events from before the call.
 */
class OutcomeStream {
  readonly #api: ApiClient;
  readonly #abort = new AbortController();
  #reading: Promise<void> | undefined;
  readonly #early: [command: string, device: string][] = [];
  #followed: { command: string; done: (device: string) => void } | undefined;

  constructor(api: ApiClient) {
    this.#api = api;
  }

  /** Resolves when events arrive. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#reading = readEventStream({
        api: this.#api,
        query: { type: 'executions' },
        signal: this.#abort.signal,
        onEvent: (event) => this.#take(event),
        onConnected: (connected) => {
          if (connected) resolve();
        },
      }).catch(reject);
    });
  }

  follow(command: string, done: (device: string) => void): void {
    this.#followed = { command, done };
    for (const [id, device] of this.#early.splice(0)) if (id === command) done(device);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#reading;
  }

  #take({ data }: StreamEvent): void {
    const { changes = [] } = JSON.parse(data) as { changes?: [string, string, string][] };
    for (const [command, device, state] of changes) {
      if (state !== 'succeeded') continue;
      if (!this.#followed) this.#early.push([command, device]);
      else if (command === this.#followed.command) this.#followed.done(device);
    }
  }
}

/** Whether the group is the one with this path or above it. */
function isOnPath(group: string, path: string): boolean {
  return path.split('/').includes(group);
}
