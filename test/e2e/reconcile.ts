import { isFinal } from '../../protocol/index.ts';
import type { TestDevice } from './fleet.ts';
import type { Given, Operator } from './operator.ts';

const SHOWN = 20;

/**
 * The ledger against the devices' own lists. Rejects unless every execution of every command that was
 * accepted is in exactly one final state, a success ran exactly once, and nothing ran twice (a run that death
 * cut short may be made again) or where it was not meant to; says by id what differs.
 */
export async function reconcile(operator: Operator, given: readonly Given[] = operator.given): Promise<void> {
  const problems: string[] = [];
  for (const { command, devices } of given)
    problems.push(...(await differences(operator, command.id, devices)));
  if (problems.length === 0) return;
  const more = problems.length > SHOWN ? [`and ${problems.length - SHOWN} more`] : [];
  throw new Error(['ledger and devices differ:', ...problems.slice(0, SHOWN), ...more].join('\n  '));
}

async function differences(
  operator: Operator,
  id: string,
  devices: readonly TestDevice[],
): Promise<string[]> {
  const problems: string[] = [];
  // The command is marked as finished just after its last execution is.
  await operator.finished(id, 5_000).catch((error: Error) => problems.push(`${id}: ${error.message}`));
  const rows = await operator.executions(id);
  const byDevice = new Map(rows.map((row) => [row.deviceId, row]));
  if (byDevice.size !== rows.length) problems.push(`${id}: a device has more than one execution`);
  const { counts } = await operator.command(id);
  if (counts.total !== rows.length) problems.push(`${id}: counts ${counts.total}, lists ${rows.length}`);
  for (const device of devices) {
    const where = `${id} on ${device.name} (${device.id})`;
    const row = byDevice.get(device.id);
    byDevice.delete(device.id);
    if (!row) problems.push(`${where}: lost, not in the ledger`);
    else if (!isFinal(row.state)) problems.push(`${where}: not final, ${row.state}`);
    const { started, completed, cutShort } = device.runs.get(id) ?? { started: 0, completed: 0, cutShort: 0 };
    if (started - cutShort > 1 || completed > 1) {
      problems.push(`${where}: duplicated, ran ${started} times, ${cutShort} of them cut short`);
    }
    if (row?.state === 'succeeded' && completed !== 1) {
      problems.push(`${where}: recorded as succeeded, ran to its end ${completed} times`);
    }
    if (completed === 1 && row && row.state !== 'succeeded' && row.ackedAt === null && !row.late) {
      problems.push(`${where}: recorded as ${row.state} without a word from the device, which ran it`);
    }
  }
  for (const row of byDevice.values()) problems.push(`${id}: not meant for ${row.deviceId}`);
  return problems;
}
