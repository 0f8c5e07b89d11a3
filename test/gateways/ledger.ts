/** Every command that was answered 202 and the devices it was for; and the judgement of what became of them. */
import type { ApiClient } from '../../cli/api-client.ts';
import { forEachAtOnce } from '../../cli/demo/fleet.ts';
import type { CommandView, ExecutionView } from '../../cli/operator/views.ts';
import type { CommandType } from '../../protocol/command-types.ts';
import { isFinal } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import type { Fleet } from './fleet.ts';
import type { Runs } from './fleet-messages.ts';

const ALL = 1_000_000;
const SHOWN = 15;
const FINISH_LIMIT_MS = 60_000;

/** Devices by id, or a group with the devices in it. */
export type Target = readonly string[] | { group: string; devices: readonly string[] };

interface Given {
  id: string;
  type: CommandType;
  devices: readonly string[];
}

export interface Totals {
  executions: number;
  /** Not in the ledger, or did not succeed, or success on record that the device knows nothing of. */
  lost: number;
  /** Begun more than once, or run where it was not meant to. */
  duplicated: number;
  nonFinal: number;
}

export class Ledger {
  readonly totals: Totals = { executions: 0, lost: 0, duplicated: 0, nonFinal: 0 };
  readonly #api: ApiClient;
  readonly #fleet: Fleet;
  #given: Given[] = [];

  constructor(api: ApiClient, fleet: Fleet) {
    this.#api = api;
    this.#fleet = fleet;
  }

  async send(type: CommandType, target: Target): Promise<CommandView> {
    const isGroup = 'group' in target;
    const args = type.startsWith('task.') ? { task: 'backup' } : type === 'message' ? { topic: 'test' } : {};
    const command = await this.#api.request<CommandView>('POST', '/v1/commands', {
      // Nothing supersedes anything here: every execution has to succeed.
      body: {
        type,
        args,
        target: isGroup ? { group: target.group } : { devices: target },
        collapseKey: null,
      },
    });
    this.#given.push({ id: command.id, type, devices: isGroup ? target.devices : target });
    return command;
  }

  async counts(id: string): Promise<CommandView['counts']> {
    return (await this.#api.get<CommandView>(`/v1/commands/${id}`)).counts;
  }

  /**
   * Waits until everything that was given has ended, and compares the ledger with the devices' own lists. Adds to the totals;
   * rejects when they are not what they should be, and says by id what differs.
   */
  async reconcile(): Promise<void> {
    const given = this.#given;
    this.#given = [];
    const late = await this.#unfinished(given);
    const runs = byCommand(await this.#fleet.runs());
    const problems: string[] = [...late];
    await forEachAtOnce(given, 16, async (each) => {
      problems.push(...(await this.#judge(each, runs.get(each.id) ?? new Map())));
    });
    if (problems.length === 0) return;
    const more = problems.length > SHOWN ? [`and ${problems.length - SHOWN} more`] : [];
    throw new Error(['ledger and devices differ:', ...problems.slice(0, SHOWN), ...more].join('\n  '));
  }

  async #unfinished(given: readonly Given[]): Promise<string[]> {
    const ours = new Set(given.map(({ id }) => id));
    let open: string[] = [];
    const look = async () => {
      const { items } = await this.#api.list<CommandView>('/v1/commands', { state: 'open' }, ALL);
      open = items.map(({ id }) => id).filter((id) => ours.has(id));
      return open.length === 0;
    };
    try {
      await waitFor(look, { timeoutMs: FINISH_LIMIT_MS, intervalMs: 200, what: 'all commands to end' });
      return [];
    } catch {
      return open.map((id) => `${id}: still open after ${FINISH_LIMIT_MS / 1_000} s`);
    }
  }

  async #judge({ id, type, devices }: Given, runs: ReadonlyMap<string, Runs>): Promise<string[]> {
    const { totals } = this;
    const problems: string[] = [];
    const note = (kind: 'lost' | 'duplicated' | 'nonFinal', device: string, text: string) => {
      totals[kind]++;
      problems.push(`${kind}: ${type} ${id} on ${device}: ${text}`);
    };
    const { items } = await this.#api.list<ExecutionView>(`/v1/commands/${id}/executions`, {}, ALL);
    totals.executions += devices.length;
    const rows = new Map(items.map((row) => [row.deviceId, row]));
    const strangers = new Set(runs.keys());
    for (const device of devices) {
      const row = rows.get(device);
      rows.delete(device);
      strangers.delete(device);
      const { started, completed } = runs.get(device) ?? { started: 0, completed: 0 };
      if (started > 1) note('duplicated', device, `begun ${started} times`);
      if (!row) note('lost', device, 'not in the ledger');
      else if (!isFinal(row.state)) note('nonFinal', device, `still ${row.state}`);
      else if (row.state !== 'succeeded') note('lost', device, `${row.state} (${row.reason ?? 'no reason'})`);
      else if (completed === 0) note('lost', device, 'succeeded on record, never run');
    }
    for (const device of [...rows.keys(), ...strangers]) note('duplicated', device, 'was not meant for it');
    return problems;
  }
}

function byCommand(runs: readonly Runs[]): Map<string, Map<string, Runs>> {
  const commands = new Map<string, Map<string, Runs>>();
  for (const each of runs) {
    const devices = commands.get(each.command) ?? new Map<string, Runs>();
    commands.set(each.command, devices.set(each.device, each));
  }
  return commands;
}
