import type { ApiClient } from '../../cli/api/api-client.ts';
import type {
  CommandView,
  DeviceView,
  EnrolmentTokenView,
  ExecutionView as ExecutionOnly,
  ExplanationView,
  GatewayView,
  GroupView,
} from '../../cli/api/views.ts';
import type { CommandType } from '../../protocol/command-types.ts';
import type { ExecutionState } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import type { TestDevice } from './fleet.ts';

export type ExecutionView = ExecutionOnly & {
  late: { state: string; reason: string | null; at: string; inTime: boolean } | null;
};

/** A command that was answered 202, and the devices it was for. */
export interface Given {
  command: CommandView;
  devices: readonly TestDevice[];
}

export interface SendOptions {
  args?: unknown;
  ttl?: number;
  timeout?: number;
  collapseKey?: string | null;
  offline?: 'queue' | 'skip';
  secret?: boolean;
  /**
   * A group (with subgroups), or all, in place of naming the devices; `devices` is then what the test
   * expects.
   */
  group?: string;
  all?: boolean;
}

const LIST_ALL = 1_000_000;

/** The HTTP API as a program uses it, and a list of everything it gave. */
export class Operator {
  readonly api: ApiClient;
  readonly given: Given[] = [];

  constructor(api: ApiClient) {
    this.api = api;
  }

  async send(
    type: CommandType,
    devices: readonly TestDevice[],
    { args, group, all, ...options }: SendOptions = {},
  ): Promise<CommandView> {
    const target = all ? { all: true } : group ? { group } : { devices: devices.map(({ id }) => id) };
    const usual = type.startsWith('task.') ? { task: 'backup' } : type === 'message' ? { topic: 'test' } : {};
    const command = await this.api.request<CommandView>('POST', '/v1/commands', {
      body: { type, args: args ?? usual, target, ...options },
    });
    this.given.push({ command, devices });
    return command;
  }

  cancel(id: string, force = false): Promise<CommandView> {
    return this.api.request('POST', `/v1/commands/${id}/cancel`, { body: { force } });
  }

  command(id: string): Promise<CommandView> {
    return this.api.get(`/v1/commands/${id}`);
  }

  /** Waits until every execution of it is final; a server that is away for a while is asked again. */
  async finished(id: string, timeoutMs = 20_000): Promise<CommandView> {
    let last: CommandView | undefined;
    await waitFor(
      async () => {
        last = await this.command(id);
        return last.finishedAt !== null;
      },
      { timeoutMs, intervalMs: 40, what: `command ${id} to be finished` },
    ).catch((error: Error) => {
      throw new Error(`${error.message}; counts ${JSON.stringify(last?.counts)}`, { cause: error.cause });
    });
    return last as CommandView;
  }

  async executions(id: string): Promise<ExecutionView[]> {
    return (await this.api.list<ExecutionView>(`/v1/commands/${id}/executions`, {}, LIST_ALL)).items;
  }

  async execution(id: string, device: TestDevice): Promise<ExecutionView> {
    return this.api.get<ExecutionView>(`/v1/commands/${id}/executions/${device.id}`);
  }

  /** Waits until the execution is in the state (or one of them); answers it. */
  async reaches(
    id: string,
    device: TestDevice,
    state: ExecutionState | ExecutionState[],
    timeoutMs = 15_000,
  ): Promise<ExecutionView> {
    const states = Array.isArray(state) ? state : [state];
    let last: ExecutionView | undefined;
    await waitFor(
      async () => {
        last = await this.execution(id, device);
        return states.includes(last.state);
      },
      { timeoutMs, intervalMs: 20, what: `${id} on ${device.name} to be ${states.join(' or ')}` },
    ).catch((error: Error) => {
      throw new Error(`${error.message}; it is ${last?.state} (${last?.reason})`, { cause: error.cause });
    });
    return last as ExecutionView;
  }

  why(device: TestDevice, command: string): Promise<ExplanationView> {
    return this.api.get(`/v1/devices/${device.id}/why`, { command });
  }

  device(device: TestDevice): Promise<DeviceView> {
    return this.api.get(`/v1/devices/${device.id}`);
  }

  /** Waits until the ledger has the device in the state. */
  async onRecord(device: TestDevice, state: DeviceView['state']): Promise<DeviceView> {
    let view: DeviceView | undefined;
    await waitFor(
      async () => {
        view = await this.device(device);
        return view.state === state;
      },
      { timeoutMs: 20_000, intervalMs: 20, what: `${device.name} to be recorded as ${state}` },
    );
    return view as DeviceView;
  }

  /** Waits until the ledger has that many devices connected. */
  async connected(count: number, timeoutMs = 60_000): Promise<void> {
    await waitFor(
      async () => {
        const page = await this.api.list<DeviceView>('/v1/devices', { state: 'connected' }, LIST_ALL);
        return page.items.length === count;
      },
      { timeoutMs, intervalMs: 100, what: `${count} devices recorded as connected` },
    );
  }

  gateways(): Promise<{ items: GatewayView[] }> {
    return this.api.get('/v1/gateways');
  }

  createGroup(id: string, parentId = 'all'): Promise<GroupView> {
    return this.api.request('POST', '/v1/groups', { body: { id, name: id, parentId } });
  }

  async enrolmentToken(groupId: string, uses: number): Promise<string> {
    const { token } = await this.api.request<EnrolmentTokenView>('POST', '/v1/enrolment-tokens', {
      body: { groupId, uses },
    });
    return token as string;
  }
}
