/** Compares the ledger, read through the HTTP API, with every device's own record. */

import { isFinal } from '../../protocol/execution-states.ts';
import type { ApiClient } from '../api/api-client.ts';
import type { CommandView, ExecutionView } from '../api/views.ts';
import type { DemoDevice } from './fleet.ts';

/** A command the demo gave, and the devices it was for. */
export interface Given {
  command: CommandView;
  devices: readonly DemoDevice[];
}

export interface Reckoning {
  executions: number;
  succeeded: number;
  /** Executions that are missing, not final, or recorded differently by ledger and device. */
  lost: number;
  /** Executions that a device completed more than once. */
  duplicated: number;
  /** Runs that a power cut interrupted and that were repeated. */
  repeated: number;
  /** The first differences, in words. */
  differences: string[];
}

const MAX_DIFFERENCES = 10;

export async function reckon(api: ApiClient, given: readonly Given[]): Promise<Reckoning> {
  const total: Reckoning = {
    executions: 0,
    succeeded: 0,
    lost: 0,
    duplicated: 0,
    repeated: 0,
    differences: [],
  };
  const differ = (text: string): void => {
    total.lost++;
    if (total.differences.length < MAX_DIFFERENCES) total.differences.push(text);
  };
  for (const { command, devices } of given) {
    const path = `/v1/commands/${command.id}/executions`;
    const rows = await api.list<ExecutionView>(path, {}, Number.MAX_SAFE_INTEGER);
    const byDevice = new Map(rows.items.map((row) => [row.deviceId, row]));
    total.executions += rows.items.length;
    for (const device of devices) {
      const row = byDevice.get(device.id);
      byDevice.delete(device.id);
      const runs = device.runs.get(command.id);
      const completed = runs?.completed ?? 0;
      if (completed > 1) total.duplicated++;
      else if ((runs?.started ?? 0) > 1) total.repeated++;
      const where = `${command.type} ${command.id} on ${device.name}`;
      if (row === undefined) differ(`${where}: not in the ledger`);
      else if (!isFinal(row.state)) differ(`${where}: still ${row.state}`);
      else if (completed > 0 !== (row.state === 'succeeded')) {
        differ(
          `${where}: ledger says ${row.state} (${row.reason ?? 'no reason'}), device ran it ` +
            `${completed} times`,
        );
      } else if (row.state === 'succeeded') total.succeeded++;
    }
    for (const row of byDevice.values())
      differ(`${command.type} ${command.id}: not meant for ${row.deviceId}`);
  }
  return total;
}
