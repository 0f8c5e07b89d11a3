/** Executions and commands as people read them. */
import type { ExecutionState } from '../../protocol/execution-states.ts';
import { EXECUTION_STATES, isFinal } from '../../protocol/execution-states.ts';
import type { CommandView, CountsView, ExecutionView } from '../api/views.ts';
import { paintState } from '../output/style.ts';
import type { Column } from '../output/table.ts';
import { relativeTime, timeBetween } from './times.ts';

export const EXECUTION_COLUMNS: readonly Column<ExecutionView>[] = [
  { title: 'DEVICE', value: (row) => row.deviceId },
  { title: 'STATE', value: (row) => row.state, paint: (cell, _, style) => paintState(cell, style) },
  { title: 'TOOK', value: (row) => timeBetween(row.sentAt, row.finishedAt), align: 'right' },
  { title: 'DETAIL', value: executionDetail, shrink: true },
];

export const DEVICE_EXECUTION_COLUMNS: readonly Column<ExecutionView>[] = [
  { title: 'COMMAND', value: (row) => row.commandId },
  { title: 'TYPE', value: (row) => row.type },
  { title: 'ISSUED', value: (row) => relativeTime(row.issuedAt) },
  ...EXECUTION_COLUMNS.slice(1),
];

export const COMMAND_COLUMNS: readonly Column<CommandView>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'TYPE', value: (row) => row.type },
  { title: 'TARGET', value: targetText, shrink: true },
  { title: 'ISSUED', value: (row) => relativeTime(row.issuedAt) },
  { title: 'STATE', value: (row) => (row.finishedAt === null ? 'open' : 'finished') },
  { title: 'EXECUTIONS', value: (row) => countsText(row.counts), shrink: true },
];

/** What a person wants to know about the end (or the middle) of an execution, in one line. */
export function executionDetail(row: ExecutionView): string {
  const parts = [
    row.reason,
    isFinal(row.state) || row.percent === null ? null : `${row.percent} %`,
    isFinal(row.state) ? null : row.note,
    row.data === null || row.data === undefined ? null : dataText(row.data),
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

export function targetText(command: CommandView): string {
  if ('group' in command.target) return `group ${command.target.group}`;
  const { devices } = command.target;
  return devices.length === 1 ? (devices[0] ?? '') : `${devices.length} devices`;
}
