/** Gateways as people read them. */

import type { GatewayView, LeavingView, RoundTripView, StatusView, WorkerView } from '../api/views.ts';
import type { OperatorContext } from '../command-line.ts';
import type { Output } from '../output/output.ts';
import { paintState } from '../output/style.ts';
import type { Column } from '../output/table.ts';
import { type NamedId, namesOf } from './names.ts';
import { timeAgo } from './times.ts';

export const gatewayColumns = (groups: NamedId): readonly Column<GatewayView>[] => [
  { title: 'NAME', value: (row) => row.name },
  { title: 'STATE', value: (row) => row.state, paint: (cell, _, style) => paintState(cell, style) },
  { title: 'GROUP', value: (row) => groups(row.groupId), shrink: true },
  { title: 'ADDRESS', value: (row) => row.address, shrink: true },
  { title: 'CONNECTIONS', value: (row) => row.connections, align: 'right' },
  { title: 'LIMIT', value: limitOf, align: 'right' },
  { title: 'LOAD', value: (row) => percent(row.connections, limitOf(row)), align: 'right' },
  { title: 'ADMITTED/S', value: (row) => row.load.admissionRate.toFixed(1), align: 'right' },
  { title: 'RTT MS P50/P99', value: (row) => roundTripText(row.load.roundTripMs), align: 'right' },
  { title: 'LEAVING', value: (row) => leavingText(row.leaving) },
  { title: 'PROBLEM', value: (row) => row.problem, shrink: true },
];

const WORKER_COLUMNS: readonly Column<WorkerView>[] = [
  { title: 'WORKER', value: (row) => row.worker },
  { title: 'HOST', value: (row) => `${row.host} (${row.pid})`, shrink: true },
  { title: 'PORT', value: (row) => row.port, align: 'right' },
  { title: 'CONNECTIONS', value: (row) => row.connections, align: 'right' },
  { title: 'LIMIT', value: (row) => row.limit, align: 'right' },
  { title: 'ADMITTED/S', value: (row) => row.admissionRate.toFixed(1), align: 'right' },
  { title: 'RTT MS P50/P99', value: (row) => roundTripText(row.roundTripMs), align: 'right' },
  { title: 'BUFFERED', value: (row) => `${Math.round(row.bufferedBytes / 1024)} KiB`, align: 'right' },
  { title: 'MEMORY', value: (row) => `${Math.round(row.memoryBytes / 1048576)} MiB`, align: 'right' },
  { title: 'CPU', value: (row) => `${Math.round(row.cpu * 100)} %`, align: 'right' },
  { title: 'LEAVING', value: (row) => leavingText(row.leaving) },
];

const WHY: Record<LeavingView['why'], string> = {
  drain: 'drain',
  off: 'switched off',
  port: 'old port',
  stop: 'stopping',
};

const devicesText = (count: number): string => `${count} device${count === 1 ? '' : 's'}`;

/** How many it accepts: its workers may have fewer descriptors than the settings ask for. */
function limitOf({ workers, load, connectionLimit }: GatewayView): number {
  return workers.length === 0 ? connectionLimit : load.limit;
}

function percent(part: number, whole: number): string {
  return `${whole > 0 ? Math.round((100 * part) / whole) : 0} %`;
}

function roundTripText(roundTrip: RoundTripView | undefined): string | null {
  return roundTrip === undefined ? null : `${milliseconds(roundTrip.p50)}/${milliseconds(roundTrip.p99)}`;
}

function milliseconds(value: number): string {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** `120 left (drain)`. */
export function leavingText(leaving: LeavingView | undefined): string | null {
  return leaving === undefined ? null : `${leaving.left} left (${WHY[leaving.why]})`;
}

/** One line for each group whose devices have no other gateway when one fails. */
export function showCoverage(out: Output, { coverage }: StatusView): void {
  if (coverage.total === 0) return;
  out.line();
  out.line(out.style.bold('Groups without a second gateway'));
  for (const { groupId, devices, gateways } of coverage.groups.slice(0, 20)) {
    const [only] = gateways;
    out.line(
      `${groupId}: ${devicesText(devices)}, ${only === undefined ? 'no gateway in service' : `only ${only}`}`,
    );
  }
  if (coverage.total > 20) out.line(`and ${coverage.total - 20} more`);
}

export async function showGateway({ out, api }: OperatorContext, gateway: GatewayView): Promise<void> {
  if (out.json) return out.document(gateway);
  const groups = await namesOf(api, 'groups', [gateway.groupId]);
  const { load } = gateway;
  out.fields([
    ['Gateway', gateway.name],
    ['State', gateway.problem === undefined ? gateway.state : `${gateway.state}: ${gateway.problem}`],
    ['Serves', `group ${groups(gateway.groupId)}`],
    ['Push server', `${gateway.runPushServer ? 'on' : 'off'}, port ${gateway.port}`],
    ['Address', gateway.address],
    ['Told', toldText(gateway)],
    ['Old ports', formerText(gateway)],
    ['Settings', gateway.applied ? 'in force' : 'not in force yet'],
    ['Draining', gateway.drainingSince === null ? 'no' : drainText(gateway)],
    ['Leaving', leavingText(gateway.leaving)],
    ['On the way', gateway.onTheWay ? devicesText(gateway.onTheWay) : null],
    ['Connections', connectionsText(gateway)],
    ['Recorded', `${devicesText(gateway.connectedOnRecord)} connected`],
    ['Round trips', roundTripFields(load.roundTripMs)],
  ]);
  if (gateway.workers.length > 0) {
    out.line();
    out.table(WORKER_COLUMNS, gateway.workers, '');
  }
}

/** Only if it differs from the settings. */
function toldText({ address, told }: GatewayView): string | null {
  if (told === address) return null;
  return told === null ? 'nobody yet: no worker has listened' : `devices get ${told}`;
}

function formerText({ formerPorts }: GatewayView): string | null {
  if (formerPorts.length === 0) return null;
  return formerPorts.map(({ port, until }) => `${port} (until ${until.slice(0, 10)})`).join(', ');
}

function connectionsText(gateway: GatewayView): string {
  const limit = limitOf(gateway);
  const { connections, connectionLimit } = gateway;
  const why =
    limit < connectionLimit ? ` (${connectionLimit} by its settings, fewer by its descriptors)` : '';
  return `${connections} of at most ${limit}${why}`;
}

function drainText({ drainingSince, drainedAt }: GatewayView): string {
  const began = `began ${timeAgo(drainingSince)}`;
  return drainedAt === null ? began : `${began}, empty (${timeAgo(drainedAt)})`;
}

function roundTripFields(roundTrip: RoundTripView | undefined): string | null {
  if (roundTrip === undefined) return null;
  const { p50, p90, p99 } = roundTrip;
  return `p50 ${milliseconds(p50)} ms, p90 ${milliseconds(p90)} ms, p99 ${milliseconds(p99)} ms`;
}
