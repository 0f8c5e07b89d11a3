import type { TunnelView } from '../api/views.ts';
import type { Output } from '../output/output.ts';
import { paintState } from '../output/style.ts';
import type { Column } from '../output/table.ts';
import type { NamedId } from './names.ts';
import { relativeTime, timeAgo, timeBetween } from './times.ts';

export const tunnelColumns = (devices: NamedId): readonly Column<TunnelView>[] => [
  { title: 'TUNNEL', value: (row) => row.id },
  { title: 'DEVICE', value: (row) => devices(row.deviceId) },
  { title: 'TO', value: target },
  { title: 'STATE', value: stateText, paint: (cell, _, style) => paintState(cell, style) },
  { title: 'GATEWAY', value: (row) => row.gateway },
  { title: 'STREAMS', value: (row) => row.streams, align: 'right' },
  { title: 'UP', value: (row) => bytesText(row.bytesUp), align: 'right' },
  { title: 'DOWN', value: (row) => bytesText(row.bytesDown), align: 'right' },
  { title: 'BY', value: (row) => row.createdBy },
  { title: 'SINCE', value: (row) => timeAgo(row.createdAt) },
  { title: 'REASON', value: (row) => row.reason, shrink: true },
];

export function showTunnel(out: Output, tunnel: TunnelView, devices: NamedId): void {
  if (out.json) {
    out.document(tunnel);
    return;
  }
  const here = (is: boolean): string => (is ? 'connected' : 'not connected');
  out.fields([
    ['Tunnel', tunnel.id],
    ['Device', `${devices(tunnel.deviceId)}, ${here(tunnel.deviceHere)}`],
    ['To', target(tunnel)],
    ['State', tunnel.state],
    ['Ended', tunnel.end && `${tunnel.end.reason} (${tunnel.end.code}) ${timeAgo(tunnel.endedAt)}`],
    ['Operator', `${tunnel.createdBy} (${here(tunnel.operatorHere)})`],
    ['Reason', tunnel.reason],
    [
      'Opened',
      `${timeAgo(tunnel.createdAt)}, joined after ${timeBetween(tunnel.createdAt, tunnel.openedAt)}`,
    ],
    ['Time is up', relativeTime(tunnel.expiresAt)],
    ['Gateway', tunnel.gateway && `${tunnel.gateway} (worker ${tunnel.worker}), moved ${tunnel.moves} times`],
    ['Streams', tunnel.streams],
    ['From the device', bytesText(tunnel.bytesUp)],
    ['To the device', bytesText(tunnel.bytesDown)],
    ['Joins refused', tunnel.refusedJoins],
  ]);
}

/** `1.5 MB`, in powers of a thousand. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

function target({ host, port }: TunnelView): string {
  return host === '127.0.0.1' ? `port ${port}` : `${host} port ${port}`;
}

function stateText({ state, end }: TunnelView): string {
  return state === 'ended' ? `ended: ${end?.code ?? '-'}` : state;
}
