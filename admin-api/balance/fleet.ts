import type { Lease, LeavingReason, ServedAddress } from '../../bus/bus.ts';
import type { Gateway } from '../store/records.ts';

/**
 * `up`: it serves; `starting`: its workers are alive and do not listen yet; `problem`: a worker cannot apply
 * its settings; `draining`, `leaving`: its devices are being sent away, by an operator's drain or because it
 * is switched off or stops; `drained`: the last device has left; `off`: switched off; `down`: no worker is
 * alive.
 */
export const GATEWAY_STATES = [
  'up',
  'starting',
  'problem',
  'draining',
  'drained',
  'leaving',
  'off',
  'down',
] as const;
export type GatewayState = (typeof GATEWAY_STATES)[number];

/** A gateway's settings with the current figures of its workers, added up. */
export interface FleetGateway extends Gateway {
  state: GatewayState;
  /** The problem that one of its workers reports, in any state. */
  problem?: string;
  /** There is a live worker, and all live workers use the newest settings. */
  applied: boolean;
  workers: readonly Lease[];
  /** Address at which a worker listens with the newest settings; absent while none does. */
  serves?: ServedAddress;
  connections: number;
  /** Most connections of its live workers, never more than the gateway's limit. */
  capacity: number;
  /** Devices that its workers are sending away; absent if none is left. */
  leaving?: { why: LeavingReason; left: number };
  /** Devices may be here: it is switched on, not drained, and one of its workers stays. */
  serving: boolean;
  /** Devices can be here: it serves and listens, or has some (a full gateway does not listen). */
  usable: boolean;
  /** It admits new devices now. */
  admitting: boolean;
}

/** The most serious first: the reason shown for the gateway as a whole. */
const LEAVING_ORDER: readonly LeavingReason[] = ['stop', 'drain', 'off', 'port'];

/** Joins gateways with the leases of their workers. */
export function fleetOf(gateways: readonly Gateway[], leases: readonly Lease[]): FleetGateway[] {
  const byGateway = new Map<string, Lease[]>();
  for (const lease of leases) {
    const { gateway } = lease.identity;
    const workers = byGateway.get(gateway);
    if (workers) workers.push(lease);
    else byGateway.set(gateway, [lease]);
  }
  return gateways.map((gateway) => fleetGateway(gateway, byGateway.get(gateway.name) ?? []));
}

export function fleetGateway(gateway: Gateway, leases: readonly Lease[]): FleetGateway {
  const workers = [...leases].sort((a, b) => (a.identity.worker < b.identity.worker ? -1 : 1));
  const loads = workers.map(({ load }) => load);
  const connections = sum(loads, (load) => load.connections);
  const capacity = Math.min(
    gateway.connectionLimit,
    sum(loads, (load) => load.limit),
  );
  const problem = loads.find((load) => load.problem !== undefined)?.problem;
  const leaving = leavingOf(loads.map((load) => load.leaving));
  // A worker that still reports `drain` or `off` does not know yet that the drain was cancelled or the
  // gateway switched on again.
  const stays = loads.some((load) => load.leaving?.why !== 'stop');
  const serving = gateway.runPushServer && gateway.drainingSince === null && stays;
  const listens = loads.some((load) => load.port !== undefined);
  const { port, address, revision } = gateway;
  const asSet = loads.some((load) => load.port === port && load.revision >= revision);
  const facts = {
    ...gateway,
    ...(asSet && { serves: { port, address } }),
    applied: loads.length > 0 && loads.every((load) => load.revision >= gateway.revision),
    workers,
    connections,
    capacity,
    ...(problem !== undefined && { problem }),
    ...(leaving && { leaving }),
    serving,
    usable: serving && (listens || connections > 0),
    admitting: serving && listens && connections < capacity,
  };
  // A gateway that never used stored settings is in no device's list yet.
  const known = loads.some((load) => load.port !== undefined && load.revision > 0);
  return { ...facts, state: stateOf(facts, known) };
}

function stateOf(gateway: Omit<FleetGateway, 'state'>, listens: boolean): GatewayState {
  const { workers, connections, applied, leaving, problem } = gateway;
  const left = connections === 0 && leaving === undefined;
  if (!gateway.runPushServer) return workers.length === 0 || left ? 'off' : 'leaving';
  if (workers.length === 0) return 'down';
  if (gateway.drainingSince !== null) return applied && left ? 'drained' : 'draining';
  if (!gateway.serving) return 'leaving';
  if (problem !== undefined) return 'problem';
  // A full gateway does not listen either.
  return listens || connections > 0 ? 'up' : 'starting';
}

function leavingOf(
  parts: readonly ({ why: LeavingReason; left: number } | undefined)[],
): { why: LeavingReason; left: number } | undefined {
  const known = parts.filter((part) => part !== undefined);
  const why = LEAVING_ORDER.find((reason) => known.some((part) => part.why === reason));
  const left = sum(known, (part) => part.left);
  return why && left > 0 ? { why, left } : undefined;
}

/** Whether a gateway's scope includes the group with this path: it serves that group or one above it. */
export function serves(gateway: { groupId: string }, groupPath: string): boolean {
  return groupPath.startsWith(`${gateway.groupId}/`) || groupPath.includes(`/${gateway.groupId}/`);
}

export function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
