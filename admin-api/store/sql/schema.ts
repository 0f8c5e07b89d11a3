/**
 * The tables as Kysely sees them; `migrations/` makes them. Booleans are 0 and 1, times are milliseconds
 * since the Unix epoch, `*_json` columns are JSON as text, states are the numbers of `state-codes.ts`: the
 * same in both databases.
 */
import type { Generated } from 'kysely';

type Flag = 0 | 1;

export interface GroupTable {
  id: string;
  parent_id: string | null;
  name: string;
  path: string;
  /** Id and name in lower case, so that text filters fold case alike in both databases. */
  search: string;
  created_at: number;
}

/** Deleted devices, kept for a bounded time. */
export interface DeletedDeviceTable {
  id: string;
  revision: number;
  deleted_at: number;
  /** URL and fingerprint of the installation it was told to use instead. */
  moved_to: string | null;
  moved_fingerprint: Uint8Array | null;
}

/** Keys that nobody may enrol with: those of split devices, and those that devices have replaced. */
export interface RefusedKeyTable {
  public_key: Uint8Array;
  device_id: string;
  why: 'rotated' | 'split';
  at: number;
}

export interface DeviceTable {
  id: string;
  group_id: string;
  name: string;
  search: string;
  platform: string;
  software: string;
  public_key: Uint8Array;
  membership_revision: number;
  blocked_at: number | null;
  created_at: number;
  session: number;
  connected: Flag;
  gateway: string | null;
  worker: string | null;
  incarnation: string | null;
  address: string | null;
  caps_json: string;
  connected_at: number | null;
  disconnected_at: number | null;
  close_code: number | null;
  close_reason: string | null;
  policy: string | null;
  compliance: string | null;
  /** Whether an operator gave it its name. */
  named: Flag;
  /** How many sessions its copies ended, the last one at `displaced_at`. */
  displaced: number;
  displaced_at: number | null;
  copies_json: string | null;
  /** Since when two programs are known to use its key. */
  cloned_at: number | null;
  /** Number of the status (B-5). */
  status_number: number;
  /** See balance/nearness.ts. */
  near: string;
  measured_json: string | null;
  /** Which secret it has, from 1 up. */
  generation: number;
  /** The same, or the next one, which it was given and has not used yet. */
  offered: number;
}

export interface EnrolmentTokenTable {
  id: string;
  public_key: Uint8Array | null;
  group_id: string;
  note: string;
  uses_left: number;
  uses_max: number;
  expires_at: number;
  created_at: number;
  created_by: string;
  revoked_at: number | null;
}

export interface ApiTokenTable {
  id: string;
  hash: Uint8Array;
  name: string;
  role: string;
  created_at: number;
  created_by: string;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
}

export interface GatewayTable {
  name: string;
  group_id: string;
  run_push_server: Flag;
  port: number;
  address: string;
  connection_limit: number;
  revision: number;
  draining_since: number | null;
  drained_at: number | null;
  created_at: number;
  updated_at: number;
}

export interface CommandTable {
  id: string;
  type: string;
  args_json: string;
  target_json: string;
  offline: string;
  collapse_key: string | null;
  issued_at: number;
  expires_at: number;
  timeout_ms: number;
  created_by: string;
  /** Whether `args_json` is text, which holds the encrypted arguments. */
  secret: Flag;
  /** The arguments of a secret command to a group, in the form in which its devices get them. */
  sealed_json: string | null;
  expanded: Flag;
  /** Id of the last device that has its row; empty before the first. */
  expand_cursor: string;
  cancel_requested_at: number | null;
  finished_at: number | null;
}

/** Keys of groups for secret commands; rows never change except for `stale_at`. */
export interface GroupKeyTable {
  group_id: string;
  epoch: number;
  number: number;
  /** Encrypted. */
  sealed_key: string;
  created_at: number;
  /** Since when no further command is sealed with it. */
  stale_at: number | null;
}

export interface IdempotencyTable {
  created_by: string;
  key: string;
  body_hash: Uint8Array;
  command_id: string;
  created_at: number;
}

export interface ExecutionTable {
  command_id: string;
  device_id: string;
  state: number;
  reason: string | null;
  data_json: string | null;
  percent: number | null;
  note: string | null;
  attempts: number;
  sent_at: number | null;
  acked_at: number | null;
  started_at: number | null;
  finished_at: number | null;
  finish_by: number | null;
  incarnation: string | null;
  session: number | null;
  late_state: number | null;
  late_reason: string | null;
  late_at: number | null;
  /** How it is to end (`end-causes.ts`) as of `as_of`. */
  ending: number | null;
  /** The moment as of which the ledger ended it or is to end it; `null` if the device reported the end. */
  as_of: number | null;
}

export interface TunnelTable {
  id: string;
  device_id: string;
  host: string;
  port: number;
  reason: string;
  created_by: string;
  created_at: number;
  expires_at: number;
  state: number;
  opened_at: number | null;
  ended_at: number | null;
  end_code: string | null;
  end_reason: string | null;
  /** The worker it is on now, counted from 1; 0 when it never had one. */
  turn: number;
  /** The `tunnel.open` command of this turn. */
  command_id: string | null;
  join_by: number;
  device_here: Flag;
  operator_here: Flag;
  streams: number;
  /** Joins that were refused. */
  refused: number;
}

/** A tunnel's time on one worker. */
export interface TunnelTurnTable {
  tunnel_id: string;
  turn: number;
  gateway: string;
  worker: string;
  incarnation: string;
  began_at: number;
  bytes_up: number;
  bytes_down: number;
}

/** Keys of the internal authority; `state` is an `AuthorityState`. */
export interface AuthorityTable {
  number: number;
  state: string;
  certificate: Uint8Array;
  sealed_key: string;
  created_at: number;
  expires_at: number;
}

export interface GatewayCertificateTable {
  serial: string;
  gateway: string;
  key_hash: Uint8Array;
  authority: number;
  issued_at: number;
  expires_at: number;
  revoked_at: number | null;
}

export interface JoinTokenTable {
  id: string;
  gateway: string;
  public_key: Uint8Array;
  expires_at: number;
  created_at: number;
  created_by: string;
  revoked_at: number | null;
  used_at: number | null;
  /** Hash of the key that used it. */
  used_by: Uint8Array | null;
}

export interface EventTable {
  seq: Generated<number>;
  at: number;
  type: string;
  data_json: string;
}

export interface AuditTable {
  seq: Generated<number>;
  at: number;
  actor: string;
  action: string;
  subject: string;
  detail_json: string;
}

export interface MetaTable {
  key: string;
  value: string;
}

export interface MigrationTable {
  number: number;
  name: string;
  applied_at: number;
}

export interface Schema {
  groups: GroupTable;
  deleted_devices: DeletedDeviceTable;
  refused_keys: RefusedKeyTable;
  devices: DeviceTable;
  enrolment_tokens: EnrolmentTokenTable;
  api_tokens: ApiTokenTable;
  gateways: GatewayTable;
  group_keys: GroupKeyTable;
  commands: CommandTable;
  idempotency: IdempotencyTable;
  executions: ExecutionTable;
  tunnels: TunnelTable;
  tunnel_turns: TunnelTurnTable;
  authorities: AuthorityTable;
  gateway_certificates: GatewayCertificateTable;
  join_tokens: JoinTokenTable;
  events: EventTable;
  audit: AuditTable;
  meta: MetaTable;
  migrations: MigrationTable;
}
