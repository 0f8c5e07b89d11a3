/** Executions and commands as people read them. */
import type { ExecutionState } from '../../protocol/execution-states.ts';
import { EXECUTION_STATES, isFinal } from '../../protocol/execution-states.ts';
import type { ApiClient } from '../api/api-client.ts';
import type { CommandView, CountsView, ExecutionView } from '../api/views.ts';
import { paintState } from '../output/style.ts';
import type { Column } from '../output/table.ts';
import { type NamedId, namesOf } from './names.ts';
import { timeAgo, timeBetween } from './times.ts';

export const executionColumns = (devices: NamedId): readonly Column<ExecutionView>[] => [
  { title: 'DEVICE', value: (row) => devices(row.deviceId) },
  { title: 'STATE', value: (row) => row.state, paint: (cell, _, style) => paintState(cell, style) },
  { title: 'TOOK', value: (row) => timeBetween(row.sentAt, row.finishedAt), align: 'right' },
  { title: 'DETAIL', value: executionDetail, shrink: true },
];

export const DEVICE_EXECUTION_COLUMNS: readonly Column<ExecutionView>[] = [
  { title: 'COMMAND', value: (row) => row.commandId },
  { title: 'TYPE', value: (row) => row.type },
  { title: 'ISSUED', value: (row) => timeAgo(row.issuedAt) },
  ...executionColumns(String).slice(1),
];

export const commandColumns = (names: TargetNames): readonly Column<CommandView>[] => [
  { title: 'ID', value: (row) => row.id },
  { title: 'TYPE', value: (row) => row.type },
  { title: 'TARGET', value: (row) => targetText(row, names), shrink: true },
  { title: 'ISSUED', value: (row) => timeAgo(row.issuedAt) },
  { title: 'STATE', value: (row) => (row.finishedAt === null ? 'open' : 'finished') },
  { title: 'EXECUTIONS', value: (row) => countsText(row.counts), shrink: true },
];

/** The outcome or progress of an execution, in one line. */
export function executionDetail(row: ExecutionView): string {
  const parts = [
    row.reason,
    isFinal(row.state) || row.percent === null ? null : `${row.percent} %`,
    isFinal(row.state) ? null : row.note,
    row.data === null || row.data === undefined ? null : dataText(row.data),
    row.secret && isFinal(row.state) && row.reason === null ? 'secret' : null,
  ];
  return parts.filter((part) => part !== null && part !== '').join(' · ');
}

/** `key value, key value` for a flat object, without what is empty; JSON for everything else. */
function dataText(data: unknown): string {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return JSON.stringify(data);
  return Object.entries(data)
    .map(([key, value]) => [key, typeof value === 'string' ? value.trim() : JSON.stringify(value)])
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key} ${value}`)
    .join(', ');
}

/** `1000 executions: 990 succeeded, 10 failed`, in the order of an execution's life. */
export function countsText(counts: CountsView): string {
  const parts = EXECUTION_STATES.filter((state) => (counts[state] ?? 0) > 0).map(
    (state) => `${counts[state]} ${state}`,
  );
  return parts.length === 0 ? '0' : parts.join(', ');
}

/** How many are final. */
export function finalCount(counts: CountsView): number {
  return EXECUTION_STATES.filter((state: ExecutionState) => isFinal(state)).reduce(
    (sum, state) => sum + (counts[state] ?? 0),
    0,
  );
}

export interface TargetNames {
  groups: NamedId;
  devices: NamedId;
}

/** Of groups, and of devices that a command names alone. */
export async function targetNames(api: ApiClient, commands: readonly CommandView[]): Promise<TargetNames> {
  const targets = commands.map(({ target }) => target);
  const groups = targets.map((target) => ('group' in target ? target.group : undefined));
  const alone = targets.map((target) =>
    'devices' in target && target.devices.length === 1 ? target.devices[0] : undefined,
  );
  return { groups: await namesOf(api, 'groups', groups), devices: await namesOf(api, 'devices', alone) };
}

export function targetText({ target }: CommandView, { groups, devices }: TargetNames): string {
  if ('group' in target) return `group ${groups(target.group)}`;
  const [only, ...others] = target.devices;
  return only !== undefined && others.length === 0 ? devices(only) : `${target.devices.length} devices`;
}
