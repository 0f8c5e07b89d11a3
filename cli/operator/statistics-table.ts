/**
 * Statistics for people: one device with a field per line, several devices with the figures that compare
 * best.
 */

import type { ExecutionView } from '../api/views.ts';
import { roughDuration } from '../config/duration.ts';
import { paintState } from '../output/style.ts';
import type { Column } from '../output/table.ts';
import { executionDetail } from './execution-table.ts';

type Figures = Record<string, unknown>;

const figuresOf = (row: ExecutionView): Figures =>
  typeof row.data === 'object' && row.data !== null ? (row.data as Figures) : {};

/** Whether the figures have the form of the reference agent; other programs report what they like. */
export function areAgentFigures(rows: readonly ExecutionView[]): boolean {
  return rows.some((row) => typeof figuresOf(row).uptimeSeconds === 'number' && 'memory' in figuresOf(row));
}

export const FIGURE_COLUMNS: readonly Column<ExecutionView>[] = [
  { title: 'DEVICE', value: (row) => row.deviceId },
  { title: 'STATE', value: (row) => row.state, paint: (cell, _, style) => paintState(cell, style) },
  { title: 'HOST', value: (row) => text(figuresOf(row).hostname), shrink: true },
  { title: 'UP', value: (row) => uptime(figuresOf(row).uptimeSeconds), align: 'right' },
  { title: 'LOAD', value: (row) => load(figuresOf(row).loadAverage), align: 'right' },
  { title: 'MEMORY FREE', value: (row) => free(figuresOf(row).memory), align: 'right' },
  { title: 'DISK FREE', value: (row) => free(figuresOf(row).disk), align: 'right' },
  {
    title: 'DETAIL',
    value: (row) => (row.state === 'succeeded' ? null : executionDetail(row)),
    shrink: true,
  },
];

/** Everything one device reported, nested names joined by dots. */
export function figureFields(data: unknown, prefix = ''): (readonly [string, string])[] {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    return [[prefix, typeof data === 'string' ? data : JSON.stringify(data)]];
  }
  return Object.entries(data).flatMap(([key, value]) =>
    figureFields(value, prefix === '' ? key : `${prefix}.${key}`),
  );
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function uptime(value: unknown): string | null {
  return typeof value === 'number' ? roughDuration(value * 1000) : null;
}

function load(value: unknown): string | null {
  const first: unknown = Array.isArray(value) ? value[0] : undefined;
  return typeof first === 'number' ? first.toFixed(2) : null;
}

function free(value: unknown): string | null {
  const { total, free: left } = (value ?? {}) as { total?: unknown; free?: unknown };
  if (typeof total !== 'number' || typeof left !== 'number' || total <= 0) return null;
  return `${(left / 1024 ** 3).toFixed(1)} GiB (${Math.round((left / total) * 100)} %)`;
}
