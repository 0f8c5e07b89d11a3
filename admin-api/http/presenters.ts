import type { Lease } from '../../bus/bus.ts';
import {
  EXECUTION_STATES,
  type SignedOrder,
  type SignedServerKeys,
  toBase64url,
} from '../../protocol/index.ts';
import { sum } from '../balance/fleet.ts';
import type { Enrolment } from '../services/enrolment-service.ts';
import type { GatewayView } from '../services/gateway-service.ts';
import type { Located } from '../services/locate-service.ts';
import type { OpenedTunnel } from '../services/tunnel-service.ts';
import type {
  ApiToken,
  AuditEntry,
  Command,
  Device,
  EnrolmentToken,
  Execution,
  Group,
  Page,
  StateCounts,
  Tunnel,
} from '../store/records.ts';
import type { CommandDocument, ExecutionDocument } from './schemas/commands.ts';
import type { KeyDocuments } from './schemas/common.ts';
import type { DeviceDocument } from './schemas/devices.ts';
import type { EnrolmentDocument, EnrolmentTokenDocument, LocatedDocument } from './schemas/enrolment.ts';
import type { GatewayDocument } from './schemas/gateways.ts';
import type { GroupDocument } from './schemas/groups.ts';
import type { AuditEntryDocument } from './schemas/operations.ts';
import type { ApiTokenDocument } from './schemas/tokens.ts';
import type { OpenedTunnelDocument, TunnelDocument } from './schemas/tunnels.ts';

/** Converts records to JSON, member by member: nothing leaves the server that is not named here. */

export function time(ms: number): string {
  return new Date(ms).toISOString();
}

export function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : time(ms);
}

export function presentPage<T, U>(
  page: Page<T>,
  present: (item: T) => U,
): { items: U[]; next: string | null } {
  return { items: page.items.map(present), next: page.next };
}

export function presentGroup(group: Group & { devices: number }): GroupDocument {
  const { id, name, parentId, path, devices } = group;
  return { id, name, parentId, path, devices, createdAt: time(group.createdAt) };
}

export function presentDevice(device: Device): DeviceDocument {
  return {
    id: device.id,
    name: device.name,
    groupId: device.groupId,
    platform: device.platform,
    software: device.software,
    state: device.blockedAt !== null ? 'blocked' : device.connected ? 'connected' : 'disconnected',
    gateway: device.gateway,
    worker: device.worker,
    address: device.address,
    caps: device.caps,
    session: device.session,
    connectedAt: timeOrNull(device.connectedAt),
    disconnectedAt: timeOrNull(device.disconnectedAt),
    closeCode: device.closeCode,
    closeReason: device.closeReason,
    policy: device.policy,
    compliance: device.compliance,
    displaced:
      device.displacedAt === null
        ? null
        : {
            sessions: device.displacedCount,
            lastAt: time(device.displacedAt),
            addresses: device.copies?.addresses ?? [],
          },
    cloned:
      device.clonedAt === null
        ? null
        : {
            since: time(device.clonedAt),
            runs: (device.copies?.runs ?? []).map(({ run, gateway, at }) => ({ run, gateway, at: time(at) })),
          },
    blockedAt: timeOrNull(device.blockedAt),
    createdAt: time(device.createdAt),
  };
}

export function presentEnrolmentToken(token: EnrolmentToken): EnrolmentTokenDocument {
  const { id, groupId, note, usesLeft, usesMax, createdBy } = token;
  return {
    id,
    groupId,
    note,
    usesLeft,
    usesMax,
    createdBy,
    expiresAt: time(token.expiresAt),
    createdAt: time(token.createdAt),
    revokedAt: timeOrNull(token.revokedAt),
  };
}

export function presentEnrolment({ keys, body, sig }: Enrolment): EnrolmentDocument {
  return { keys: presentKeyDocuments(keys), body: toBase64url(body), sig: toBase64url(sig) };
}

export function presentKeyDocuments(documents: readonly SignedServerKeys[]): KeyDocuments {
  return documents.map(({ body, sig, previousSig }) => ({
    ...{ body: toBase64url(body), sig: toBase64url(sig) },
    ...(previousSig && { previousSig: toBase64url(previousSig) }),
  }));
}

export function presentLocated({ keys, membership, list, gateways, sig }: Located): LocatedDocument {
  return {
    keys: presentKeyDocuments(keys),
    membership: presentOrder(membership),
    ...(list && { list: presentOrder(list) }),
    gateways,
    sig: toBase64url(sig),
  };
}

function presentOrder({ body, sig }: SignedOrder) {
  return { body: toBase64url(body), sig: toBase64url(sig) };
}

export function presentApiToken(token: ApiToken): ApiTokenDocument {
  const { id, name, role, createdBy } = token;
  return {
    id,
    name,
    role,
    createdBy,
    createdAt: time(token.createdAt),
    expiresAt: timeOrNull(token.expiresAt),
    revokedAt: timeOrNull(token.revokedAt),
    lastUsedAt: timeOrNull(token.lastUsedAt),
  };
}

export function presentGateway(view: GatewayView): GatewayDocument {
  const { name, groupId, runPushServer, port, address, connectionLimit, revision, state, problem } = view;
  return {
    name,
    groupId,
    runPushServer,
    port,
    address,
    connectionLimit,
    revision,
    told: view.told?.address ?? null,
    formerPorts: (view.told?.former ?? []).map(({ port, until }) => ({ port, until: time(until) })),
    state,
    ...(problem !== undefined && { problem }),
    applied: view.applied,
    draining: view.drainingSince !== null,
    drainingSince: timeOrNull(view.drainingSince),
    drainedAt: timeOrNull(view.drainedAt),
    ...(view.leaving && { leaving: view.leaving }),
    ...(view.onTheWay !== undefined && { onTheWay: view.onTheWay }),
    load: wholeLoad(view),
    connections: view.connections,
    connectedOnRecord: view.connectedOnRecord,
    workers: view.workers.map(presentWorker),
    createdAt: time(view.createdAt),
    updatedAt: time(view.updatedAt),
  };
}

/**
 * Percentiles cannot be added up: the median and p90 are means weighted by connections, p99 is the worst
 * worker's.
 */
function wholeLoad({ workers, connections, capacity }: GatewayView): GatewayDocument['load'] {
  const loads = workers.map(({ load }) => load);
  const measured = loads.flatMap(({ connections, roundTripMs }) =>
    roundTripMs ? [{ share: Math.max(1, connections), ...roundTripMs }] : [],
  );
  const shares = sum(measured, (each) => each.share);
  const mean = (key: 'p50' | 'p90') => sum(measured, (each) => each[key] * each.share) / shares;
  return {
    connections,
    limit: capacity,
    admissionRate: sum(loads, (load) => load.admissionRate),
    ...(measured.length > 0 && {
      roundTripMs: {
        p50: mean('p50'),
        p90: mean('p90'),
        p99: Math.max(...measured.map((each) => each.p99)),
      },
    }),
    cpu: sum(loads, (load) => load.cpu),
    memoryBytes: sum(loads, (load) => load.memoryBytes),
    bufferedBytes: sum(loads, (load) => load.bufferedBytes),
  };
}

function presentWorker({ incarnation, identity, load }: Lease): GatewayDocument['workers'][number] {
  return {
    worker: identity.worker,
    incarnation,
    host: identity.host,
    pid: identity.pid,
    version: identity.version,
    connections: load.connections,
    limit: load.limit,
    admissionRate: load.admissionRate,
    bufferedBytes: load.bufferedBytes,
    memoryBytes: load.memoryBytes,
    cpu: load.cpu,
    revision: load.revision,
    ...(load.roundTripMs && { roundTripMs: load.roundTripMs }),
    ...(load.port !== undefined && { port: load.port }),
    ...(load.leaving && { leaving: load.leaving }),
    ...(load.problem !== undefined && { problem: load.problem }),
  };
}

const NO_COUNTS: StateCounts = {
  ...(Object.fromEntries(EXECUTION_STATES.map((state) => [state, 0])) as Omit<StateCounts, 'total'>),
  total: 0,
};

/** `counts` is absent for a command without executions. */
export function presentCommand(command: Command, counts: StateCounts = NO_COUNTS): CommandDocument {
  return {
    id: command.id,
    type: command.type,
    args: shownArgs(command),
    secret: command.secret !== undefined,
    target: command.target,
    offline: command.offline,
    collapseKey: command.collapseKey,
    issuedAt: time(command.issuedAt),
    expiresAt: time(command.expiresAt),
    timeout: command.timeoutMs / 1000,
    createdBy: command.createdBy,
    expanded: command.expanded,
    cancelRequestedAt: timeOrNull(command.cancelRequestedAt),
    finishedAt: timeOrNull(command.finishedAt),
    counts,
  };
}

/** Secrets, and the ticket and key of a tunnel, are for the device only. */
function shownArgs({ type, args, secret }: Command): unknown {
  if (secret) return 'secret';
  if (type !== 'tunnel.open' || typeof args !== 'object') return args ?? {};
  return { ...args, ticket: '[hidden]', ...('key' in (args ?? {}) && { key: '[hidden]' }) };
}

export function presentTunnel(tunnel: Tunnel): TunnelDocument {
  const { id, deviceId, host, port, reason, createdBy, state, end, turn, at } = tunnel;
  return {
    id,
    deviceId,
    host,
    port,
    reason,
    state,
    end,
    createdBy,
    createdAt: time(tunnel.createdAt),
    openedAt: timeOrNull(tunnel.openedAt),
    endedAt: timeOrNull(tunnel.endedAt),
    expiresAt: time(tunnel.expiresAt),
    gateway: at?.gateway ?? null,
    worker: at?.worker ?? null,
    moves: Math.max(0, turn - 1),
    deviceHere: tunnel.deviceHere,
    operatorHere: tunnel.operatorHere,
    streams: tunnel.streams,
    bytesUp: tunnel.bytesUp,
    bytesDown: tunnel.bytesDown,
    refusedJoins: tunnel.refused,
  };
}

export function presentOpenedTunnel({ tunnel, join }: OpenedTunnel): OpenedTunnelDocument {
  if (!join) return { tunnel: presentTunnel(tunnel), join };
  const { gateway, url, worker, ticket, key, expiresAt } = join;
  return {
    tunnel: presentTunnel(tunnel),
    join: {
      gateway: { name: gateway, url },
      worker,
      ticket,
      key: key && toBase64url(key),
      expiresAt: time(expiresAt),
    },
  };
}

/** The form in a list without `data`. */
function presentListedExecution(execution: Execution): ExecutionDocument {
  const { late } = execution;
  return {
    commandId: execution.commandId,
    deviceId: execution.deviceId,
    type: execution.type,
    secret: execution.secret !== undefined,
    state: execution.state,
    reason: execution.reason,
    percent: execution.percent,
    note: execution.note,
    attempts: execution.attempts,
    issuedAt: time(execution.issuedAt),
    expiresAt: time(execution.expiresAt),
    sentAt: timeOrNull(execution.sentAt),
    ackedAt: timeOrNull(execution.ackedAt),
    startedAt: timeOrNull(execution.startedAt),
    finishedAt: timeOrNull(execution.finishedAt),
    finishBy: timeOrNull(execution.finishBy),
    late: late && { state: late.state, reason: late.reason, at: time(late.at), inTime: late.inTime },
  };
}

export function presentExecution(execution: Execution): ExecutionDocument {
  return { ...presentListedExecution(execution), data: execution.data ?? null };
}

export function executionPresenter(withData: boolean): (execution: Execution) => ExecutionDocument {
  return withData ? presentExecution : presentListedExecution;
}

export function presentAuditEntry(entry: AuditEntry): AuditEntryDocument {
  const { seq, actor, action, subject, detail } = entry;
  return { seq, at: time(entry.at), actor, action, subject, detail };
}
