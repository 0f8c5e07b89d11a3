/**
 * What the store keeps, as the rest of the administration server sees it. Times are milliseconds since the
 * Unix epoch by the administration server's clock; `null` means "never" or "none".
 */
import type { CommandType } from '../../protocol/command-types.ts';
import type {
  Compliance,
  ExecutionState,
  FinalState,
  MeasuredGateway,
  SealedArgs,
} from '../../protocol/index.ts';
import type { EndCause } from './end-causes.ts';

/** The group every other is below; made by the first migration, cannot be moved or deleted. */
export const ROOT_GROUP = 'all';

export interface Group {
  id: string;
  parentId: string | null;
  name: string;
  /** Ids from the root to this group, joined and ended by `/`: `all/emea/berlin/`. A subtree is a prefix. */
  path: string;
  createdAt: number;
}

/** What programs that share a device's key said when they were asked (ledger/copies.ts). */
export interface Copies {
  /** Only programs that ran before count, and only answers to questions asked since. */
  since: number;
  /** Where their sessions came from, the newest first. */
  addresses: string[];
  /** Each run of a program that answered, and the gateway it answered at. */
  runs: { run: string; gateway: string; at: number }[];
}

export interface Device {
  id: string;
  groupId: string;
  name: string;
  platform: string;
  software: string;
  publicKey: Uint8Array;
  /** Revision of its membership; grows when it (or a group above it) is moved. */
  membershipRevision: number;
  blockedAt: number | null;
  createdAt: number;
  /** The newest session heard of; orders what workers report. */
  session: number;
  connected: boolean;
  /** Where it is connected, or was last. */
  gateway: string | null;
  worker: string | null;
  incarnation: string | null;
  address: string | null;
  caps: string[];
  connectedAt: number | null;
  disconnectedAt: number | null;
  /** Close code and reason of the last session that ended. */
  closeCode: number | null;
  closeReason: string | null;
  policy: string | null;
  compliance: Compliance | null;
  /** Sessions of it that a copy with the same key ended within an hour of each other; the last one when. */
  displacedCount: number;
  displacedAt: number | null;
  copies: Copies | null;
  /** Since when two programs are known to use its key. */
  clonedAt: number | null;
  /** Which of its secrets it has, from 1 up. */
  generation: number;
  /** The same, or the next one, which it was given and has not used yet (K-6). */
  offered: number;
  /** How far it said gateways are, the nearest first; empty when it never did. */
  measured: MeasuredGateway[];
}

export interface EnrolmentToken {
  id: string;
  /**
   * Raw Ed25519 key of the seed that devices sign with, 32 bytes. `null`: from before tokens had keys, and
   * revoked.
   */
  publicKey: Uint8Array | null;
  groupId: string;
  note: string;
  usesLeft: number;
  usesMax: number;
  expiresAt: number;
  createdAt: number;
  createdBy: string;
  revokedAt: number | null;
}

export const ROLES = ['viewer', 'operator', 'admin'] as const;
/** A viewer reads; an operator commands devices as well; an admin changes everything. */
export type Role = (typeof ROLES)[number];

export interface ApiToken {
  id: string;
  name: string;
  role: Role;
  createdAt: number;
  createdBy: string;
  expiresAt: number | null;
  revokedAt: number | null;
  lastUsedAt: number | null;
}

export interface Gateway {
  name: string;
  groupId: string;
  runPushServer: boolean;
  port: number;
  address: string;
  connectionLimit: number;
  revision: number;
  /** Since when an operator drains it; `null` when it is not drained. */
  drainingSince: number | null;
  /** When its last device had left. */
  drainedAt: number | null;
  createdAt: number;
  updatedAt: number;
}

export type CommandTarget = { devices: string[] } | { group: string };
export type OfflinePolicy = 'queue' | 'skip';

/** Arguments of a secret command. */
export interface SecretArgs {
  /** For the administration server, encrypted. */
  atRest: string;
  /** For the devices of the target group, sealed with its key; `null` where the target is devices. */
  sealed: SealedArgs | null;
}

export interface Command {
  id: string;
  type: CommandType;
  /** `null` for a secret command. */
  args: unknown;
  /** Of a secret command alone. */
  secret?: SecretArgs;
  target: CommandTarget;
  offline: OfflinePolicy;
  collapseKey: string | null;
  issuedAt: number;
  /** Deliver by. */
  expiresAt: number;
  /** Finish by, counted from the acknowledgement, milliseconds. */
  timeoutMs: number;
  createdBy: string;
  /** Whether every execution has its row yet; a large group takes a moment. */
  expanded: boolean;
  cancelRequestedAt: number | null;
  /** When the last execution became final; `null` while any is open. */
  finishedAt: number | null;
}

export interface Execution {
  commandId: string;
  deviceId: string;
  type: CommandType;
  state: ExecutionState;
  reason: string | null;
  /** What the device returned; `null` for a secret command. */
  data: unknown;
  /** Of a secret command: what the device sealed, encrypted; `null` for nothing, or in lists. */
  secret?: string | null;
  percent: number | null;
  note: string | null;
  /** How often it was handed to a gateway. */
  attempts: number;
  issuedAt: number;
  expiresAt: number;
  sentAt: number | null;
  ackedAt: number | null;
  startedAt: number | null;
  finishedAt: number | null;
  /** Finish-by time, known from the acknowledgement on. */
  finishBy: number | null;
  /** Worker incarnation and session it was last sent through. */
  incarnation: string | null;
  session: number | null;
  /** What the device reported after the ledger had already given a final state. */
  late: LateEnd | null;
  /** How the ledger is about to end it, as of when, once everything that gateways have heard is applied. */
  ending: { how: EndCause; asOf: number } | null;
}

export interface LateEnd {
  state: FinalState;
  reason: string | null;
  /** When the gateway had it. */
  at: number;
  /** The gateway had it by the moment as of which the ledger ended the execution: that end was false. */
  inTime: boolean;
}

export type StateCounts = Record<ExecutionState, number> & { total: number };

/**
 * `opening`: the two ends have not both been there yet; `open`: they have; `ended`: for good, and `end` says
 * why.
 */
export const TUNNEL_STATES = ['opening', 'open', 'ended'] as const;
export type TunnelState = (typeof TUNNEL_STATES)[number];

/** Where a tunnel is joined. */
export interface TunnelTurn {
  gateway: string;
  worker: string;
  incarnation: string;
  /** `tunnel.open` that tells the device. */
  commandId: string;
  /** Until when the tickets are good. */
  joinBy: number;
}

export interface Tunnel {
  id: string;
  deviceId: string;
  host: string;
  port: number;
  /** Why the operator wants it; may be empty. */
  reason: string;
  /** API token id of the operator. */
  createdBy: string;
  createdAt: number;
  /** End of its life. */
  expiresAt: number;
  state: TunnelState;
  /** When both ends were there first. */
  openedAt: number | null;
  endedAt: number | null;
  /** A word for programs and a sentence for people. */
  end: { code: string; reason: string } | null;
  /** The worker it is on now, counted from 1; 0 and no `at` when there never was one. */
  turn: number;
  at: TunnelTurn | null;
  deviceHere: boolean;
  operatorHere: boolean;
  /** Streams open, as the device said last. */
  streams: number;
  /** From the device, and to it, on all gateways it has been on. */
  bytesUp: number;
  bytesDown: number;
  /** Joins that were refused. */
  refused: number;
}

export interface LedgerEvent {
  seq: number;
  at: number;
  type: string;
  data: unknown;
}

export interface AuditEntry {
  seq: number;
  at: number;
  /** API token id, or `system`. */
  actor: string;
  action: string;
  subject: string;
  detail: unknown;
}

/** Times from `since` on and before `until`; a bound that is absent bounds nothing. */
export interface TimeSpan {
  since?: number;
  until?: number;
}

/** One page of a list; `next` is passed back as the cursor, `null` at the end. */
export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface PageRequest {
  limit: number;
  cursor?: string | undefined;
}
