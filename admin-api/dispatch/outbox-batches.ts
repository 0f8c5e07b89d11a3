/** Turns executions that are recorded as sent into deliveries for each worker. */
import type { Delivery } from '../../bus/bus.ts';
import { groupsOnPath } from '../group-path.ts';
import { ROOT_GROUP } from '../store/records.ts';
import type { ExecutionKey, Routes, Store } from '../store/store.ts';
import type { CommandFrames, CommandToSend } from './command-frames.ts';

export interface OutboxBatch {
  incarnation: string;
  deliveries: Delivery[];
  rows: ExecutionKey[];
}

/** For each worker: one delivery for all devices of a group command, and one for each named device. */
export async function outboxBatches(
  store: Pick<Store, 'devices'>,
  frames: CommandFrames,
  rows: readonly ExecutionKey[],
  commands: ReadonlyMap<string, CommandToSend>,
  routes: Routes,
): Promise<OutboxBatch[]> {
  const inGroup = await membersOf(store, rows, commands);
  const generations = rows.some(({ command }) => commands.get(command)?.secret)
    ? await store.devices.generations(rows.map(({ device }) => device))
    : null;
  const byWorker = new Map<string, OutboxBatch>();
  const shared = new Map<string, Delivery>();
  const ordered = [...rows].sort((a, b) => (a.command < b.command ? -1 : a.command > b.command ? 1 : 0));
  for (const row of ordered) {
    const command = commands.get(row.command);
    const incarnation = routes.get(row.device)?.incarnation;
    if (!command || incarnation === undefined) continue;
    const batches = byWorker.get(incarnation) ?? { incarnation, deliveries: [], rows: [] };
    byWorker.set(incarnation, batches);
    batches.rows.push(row);
    if ('group' in command.target && inGroup(row.device, command.target.group)) {
      const key = `${incarnation} ${command.id}`;
      const delivery = shared.get(key);
      if (delivery) delivery.devices.push(row.device);
      else {
        const frame = frames.forGroup(command, command.target.group);
        const made = { devices: [row.device], frame, commandId: command.id };
        shared.set(key, made);
        batches.deliveries.push(made);
      }
    } else {
      const frame = frames.forDevice(command, row.device, generations?.get(row.device)?.generation);
      batches.deliveries.push({ devices: [row.device], frame, commandId: command.id });
    }
  }
  return [...byWorker.values()];
}

/**
 * Whether a device is in a group now. A device that left the target group since the command was created
 * would refuse the shared frame, so it gets a frame of its own.
 */
async function membersOf(
  store: Pick<Store, 'devices'>,
  rows: readonly ExecutionKey[],
  commands: ReadonlyMap<string, CommandToSend>,
): Promise<(device: string, group: string) => boolean> {
  const asked = rows.filter((row) => {
    const target = commands.get(row.command)?.target;
    return target && 'group' in target && target.group !== ROOT_GROUP;
  });
  const ids = [...new Set(asked.map((row) => row.device))];
  const devices = ids.length > 0 ? await store.devices.memberships(ids) : [];
  const groups = new Map(devices.map(({ id, groupPath }) => [id, groupsOnPath(groupPath)]));
  return (device, group) => group === ROOT_GROUP || (groups.get(device)?.includes(group) ?? false);
}
