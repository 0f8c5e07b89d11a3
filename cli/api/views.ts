/** The answers of the HTTP API, as far as the commands show them. Times are RFC 3339 in UTC. */
import type { ExecutionState } from '../../protocol/execution-states.ts';

export interface GroupView {
  id: string;
  name: string;
  parentId: string | null;
  path: string;
  devices?: number;
  createdAt: string;
}

export interface DeviceView {
  id: string;
  name: string;
  groupId: string;
  platform: string;
  software: string;
  state: 'connected' | 'disconnected' | 'blocked';
  gateway: string | null;
  worker: string | null;
  address: string | null;
  caps: string[];
  connectedAt: string | null;
  disconnectedAt: string | null;
  closeCode: number | null;
  closeReason: string | null;
  policy: string | null;
  compliance: string | null;
  displaced: { sessions: number; lastAt: string; addresses: string[] } | null;
  cloned: { since: string; runs: { run: string; gateway: string; at: string }[] } | null;
  blockedAt: string | null;
  createdAt: string;
}

export type CountsView = Record<ExecutionState, number> & { total: number };

export interface CommandView {
  id: string;
  type: string;
  args: unknown;
  secret: boolean;
  target: { devices: string[] } | { group: string };
  offline: 'queue' | 'skip';
  collapseKey: string | null;
  issuedAt: string;
  expiresAt: string;
  /** Seconds. */
  timeout: number;
  createdBy: string;
  expanded: boolean;
  cancelRequestedAt: string | null;
  finishedAt: string | null;
  counts: CountsView;
}

export interface ExecutionView {
  commandId: string;
  deviceId: string;
  type: string;
  secret: boolean;
  state: ExecutionState;
  reason: string | null;
  data: unknown;
  percent: number | null;
  note: string | null;
  attempts: number;
  issuedAt: string;
  expiresAt: string;
  sentAt: string | null;
  ackedAt: string | null;
  startedAt: string | null;
  finishedAt: string | null;
}

export interface ExplanationView {
  sentence: string;
  code: string;
  data: Record<string, unknown>;
}

export interface RoundTripView {
  p50: number;
  p90: number;
  p99: number;
}

export interface LeavingView {
  why: 'drain' | 'off' | 'port' | 'stop';
  left: number;
}

export interface WorkerView {
  worker: string;
  host: string;
  pid: number;
  version: string;
  connections: number;
  limit: number;
  admissionRate: number;
  bufferedBytes: number;
  memoryBytes: number;
  cpu: number;
  revision: number;
  roundTripMs?: RoundTripView;
  port?: number;
  leaving?: LeavingView;
  problem?: string;
}

export type GatewayState =
  | 'up'
  | 'starting'
  | 'problem'
  | 'draining'
  | 'drained'
  | 'leaving'
  | 'off'
  | 'down';

export interface GatewayView {
  name: string;
  groupId: string;
  runPushServer: boolean;
  port: number;
  address: string;
  connectionLimit: number;
  revision: number;
  /** The URL that devices get; `null` if no worker ever listened. */
  told: string | null;
  formerPorts: { port: number; until: string }[];
  state: GatewayState;
  problem?: string;
  applied: boolean;
  draining: boolean;
  drainingSince: string | null;
  drainedAt: string | null;
  leaving?: LeavingView;
  /** While it is drained: devices that it sent away and that are not connected elsewhere yet. */
  onTheWay?: number;
  load: {
    connections: number;
    limit: number;
    admissionRate: number;
    roundTripMs?: RoundTripView;
    cpu: number;
    memoryBytes: number;
    bufferedBytes: number;
  };
  connections: number;
  connectedOnRecord: number;
  workers: WorkerView[];
  createdAt: string;
  updatedAt: string;
}

export interface StatusView {
  devices: { total: number; connected: number };
  coverage: { total: number; groups: { groupId: string; devices: number; gateways: string[] }[] };
}

export interface AuditEntryView {
  seq: number;
  at: string;
  actor: string;
  action: string;
  subject: string;
  detail: unknown;
}

export interface PlacementView {
  sentence: string;
  code: string;
  data: {
    gateway: string | null;
    rank: number | null;
    list: { name: string; weight: number; state: GatewayState; ms: number | null }[];
  };
}

export interface EnrolmentTokenView {
  id: string;
  groupId: string;
  note: string;
  usesLeft: number;
  usesMax: number;
  expiresAt: string;
  createdAt: string;
  createdBy: string;
  revokedAt: string | null;
  /** Only in the answer to its creation. */
  token?: string;
}

export interface ApiTokenView {
  id: string;
  name: string;
  role: 'viewer' | 'operator' | 'admin';
  createdAt: string;
  createdBy: string;
  expiresAt: string | null;
  revokedAt: string | null;
  lastUsedAt: string | null;
  /** Only in the answer to its creation. */
  token?: string;
}

export interface TunnelView {
  id: string;
  deviceId: string;
  host: string;
  port: number;
  reason: string;
  state: 'opening' | 'open' | 'ended';
  end: { code: string; reason: string } | null;
  createdBy: string;
  createdAt: string;
  openedAt: string | null;
  endedAt: string | null;
  expiresAt: string;
  gateway: string | null;
  worker: string | null;
  moves: number;
  deviceHere: boolean;
  operatorHere: boolean;
  streams: number;
  bytesUp: number;
  bytesDown: number;
  refusedJoins: number;
}

export interface OpenedTunnelView {
  tunnel: TunnelView;
  join: {
    gateway: { name: string; url: string };
    worker: number;
    /** Secret, and good for one join. */
    ticket: string;
    /** Secret; `null` after a move of an open tunnel, whose key stays the same. */
    key: string | null;
    expiresAt: string;
  } | null;
}

export interface JoinTokenView {
  id: string;
  gateway: string;
  expiresAt: string;
  usedAt: string | null;
  revokedAt: string | null;
}

/** An administration server that joined, with its newest certificate. */
export interface ServerView {
  name: string;
  running: boolean;
  certificate: { serial: string; expiresAt: string; revokedAt: string | null };
}

/** Keys and documents base64url. */
export interface ServerKeysView {
  fingerprint: string;
  epoch: number;
  revision: number;
  document: string;
  sig: string;
  root: { publicKey: string; kept: 'here' | 'elsewhere' };
  signing: { publicKey: string; state: 'previous' | 'active' | 'next' }[];
  activeSince: string;
  waitingFor: string[];
  notRetirable: string | null;
  pending: string | null;
}

export interface AuthorityView {
  phase: 'steady' | 'introduced' | 'used';
  authorities: { number: number; state: string; fingerprint: string; expiresAt: string }[];
  waitingFor: string[];
}
