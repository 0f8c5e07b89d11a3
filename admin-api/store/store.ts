/**
 * The store: what must outlive every process, in SQLite or PostgreSQL. One implementation in Kysely's common
 * subset of SQL; `test/admin-api/store-contract.ts` holds both databases to it.
 *
 * Every method is one transaction unless it is called on the store that `transaction` hands out. A method
 * that cannot reach the database rejects with `StoreUnavailable`; nothing half-done remains.
 */
import type {
  Compliance,
  ExecutionState,
  GroupKeyName,
  MeasuredGateway,
  OtherInstallation,
} from '../../protocol/index.ts';
import type { EndCause } from './end-causes.ts';
import type { Authorities, GatewayCertificates, JoinTokens } from './pki-records.ts';
import type {
  ApiToken,
  AuditEntry,
  Command,
  CommandTarget,
  Copies,
  Device,
  EnrolmentToken,
  Execution,
  Gateway,
  Group,
  LedgerEvent,
  Page,
  PageRequest,
  Role,
  StateCounts,
  TimeSpan,
  Tunnel,
  TunnelState,
  TunnelTurn,
} from './records.ts';

export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

export interface Store {
  readonly kind: 'sqlite' | 'postgres';
  readonly groups: Groups;
  readonly groupKeys: GroupKeys;
  readonly devices: Devices;
  readonly deletedDevices: DeletedDevices;
  readonly refusedKeys: RefusedKeys;
  readonly enrolmentTokens: EnrolmentTokens;
  readonly apiTokens: ApiTokens;
  readonly gateways: Gateways;
  readonly commands: Commands;
  readonly executions: Executions;
  readonly tunnels: Tunnels;
  readonly authorities: Authorities;
  readonly gatewayCertificates: GatewayCertificates;
  readonly joinTokens: JoinTokens;
  readonly events: Events;
  readonly audit: Audit;
  readonly meta: Meta;
  /** Opens the database and migrates it; refuses one that a newer version migrated. */
  start(): Promise<void>;
  /** Idempotent. */
  stop(): Promise<void>;
  /**
   * Attempts that lost against another transaction (deadlocks, serialisation failures) and were repeated,
   * since the start.
   */
  conflicts(): number;
  /**
   * All or nothing. Calls on the store that `work` gets join the transaction, further `transaction` calls
   * included; calls on this store from inside `work` are refused. `work` may run again when the transaction
   * lost against another one.
   */
  transaction<T>(work: (tx: Store) => Promise<T>): Promise<T>;
}

export type SecretGenerations = Pick<Device, 'generation' | 'offered'>;

/**
 * A device that was deleted, or moved to another installation; `revision` is that of the membership that
 * says so.
 */
export interface DeletedDevice {
  id: string;
  revision: number;
  to?: OtherInstallation;
}

/** Devices that were deleted: each is told so, signed, when it comes back within a bounded time. */
export interface DeletedDevices {
  ofIds(ids: readonly string[]): Promise<DeletedDevice[]>;
  /** In the order of their ids. */
  scan(after: string, limit: number): Promise<DeletedDevice[]>;
  /** Forgets those deleted before, the earliest first, `limit` at most; resolves with their ids. */
  forget(before: number, limit: number): Promise<string[]>;
}

/** Public keys that nobody enrols with. Those of devices that were split stay for good. */
export interface RefusedKeys {
  /** `rotated`: its device has another key; `split`: two programs used it; `null`: it may enrol. */
  why(publicKey: Uint8Array): Promise<'rotated' | 'split' | null>;
  /** The device had this key before. Of those the newest `keep` stay, until the device is deleted. */
  rotated(device: string, publicKey: Uint8Array, at: number, keep: number): Promise<void>;
  /** When the device changed its key since then, the latest first. */
  rotations(device: string, since: number): Promise<number[]>;
}

export interface StatusReport {
  device: string;
  policy?: string;
  compliance?: Compliance;
  /** When the gateway heard it, milliseconds since the Unix epoch. */
  at: number;
}

export interface DevicePlace {
  id: string;
  groupPath: string;
  /** Of its newest session; `null` before the first. */
  gateway: string | null;
  /** Its number; 0 before the first. */
  session: number;
  connectedAt: number | null;
}

export interface Groups {
  get(id: string): Promise<Group | null>;
  /** In a transaction that will change it: nobody else changes it until the transaction ends. */
  getForChange(id: string): Promise<Group | null>;
  list(page: PageRequest & { parent?: string; text?: string }): Promise<Page<Group & { devices: number }>>;
  /** Names are unique among siblings: a name that is taken is a conflict, here and below. */
  create(group: { id: string; parentId: string; name: string; createdAt: number }): Promise<Group>;
  rename(id: string, name: string): Promise<void>;
  /**
   * Rewrites the paths of the subtree and grows the membership revision of every device in it. `name`: a new
   * name to arrive with.
   */
  move(id: string, parentId: string, name?: string): Promise<void>;
  /** Only an empty group: no subgroups, no devices, no gateway, no usable enrolment token. */
  delete(id: string): Promise<'deleted' | 'not-empty' | 'unknown'>;
}

export interface StoredGroupKey extends GroupKeyName {
  /** Encrypted by whoever made it. */
  sealedKey: string;
}

/**
 * Keys of groups for secret commands. A key goes stale when a device that may hold it is blocked, deleted or
 * leaves the group, with that change in one transaction.
 */
export interface GroupKeys {
  /** The newest key of the group in this epoch; a new one, sealed by `make`, where that is stale or none. */
  current(
    group: string,
    epoch: number,
    at: number,
    make: (name: GroupKeyName) => string,
  ): Promise<StoredGroupKey>;
  /** Those there are, stale ones too. */
  ofNames(names: readonly GroupKeyName[]): Promise<StoredGroupKey[]>;
  /**
   * To be called first in a transaction in which a device leaves a group: until its end nobody makes or picks
   * a key, so that the device gets none that outlasts its leaving.
   */
  hold(): Promise<void>;
  /** The keys of all groups of the device go stale: what it holds may be in other hands. */
  left(device: string): Promise<void>;
}

export interface DeviceFilter {
  /** The group with its subgroups. */
  group?: string;
  state?: 'connected' | 'disconnected' | 'blocked';
  gateway?: string;
  /** Part of the name or id, case-insensitive. */
  text?: string;
}

/** What a worker reported, already reduced to the newest per device. */
export interface SessionChange {
  device: string;
  session: number;
  connected?: {
    incarnation: string;
    worker: string;
    gateway: string;
    address: string;
    software: string;
    caps: string[];
  };
  disconnected?: { code: number; reason: string };
  at: number;
}

export interface Devices {
  get(id: string): Promise<Device | null>;
  /** As `Groups.getForChange`. */
  getForChange(id: string): Promise<Device | null>;
  getMany(ids: readonly string[]): Promise<Device[]>;
  byPublicKey(publicKey: Uint8Array): Promise<Device | null>;
  list(filter: DeviceFilter, page: PageRequest): Promise<Page<Device>>;
  count(filter: DeviceFilter): Promise<number>;
  create(device: {
    id: string;
    groupId: string;
    name: string;
    platform: string;
    software: string;
    publicKey: Uint8Array;
    createdAt: number;
  }): Promise<void>;
  /** By an operator: from then on its own name for itself does not count. */
  rename(id: string, name: string): Promise<void>;
  /**
   * Names that devices give themselves, where no operator named them. Resolves with those that were changed.
   */
  applyNames(
    rows: readonly { device: string; name: string }[],
  ): Promise<{ device: string; name: string; before: string }[]>;
  /**
   * Counts a session that a copy of the device ended; after an hour without any it starts from one. Resolves
   * with them.
   */
  applyDisplaced(devices: readonly string[], at: number): Promise<Device[]>;
  /** Grows the membership revision. */
  move(id: string, groupId: string): Promise<void>;
  /** Grows the membership revision. */
  setPublicKey(id: string, publicKey: Uint8Array): Promise<void>;
  /** Grows the membership revision. */
  setBlocked(id: string, blockedAt: number | null): Promise<void>;
  /** Of those of these devices that have another secret than their first, or were given one. */
  generations(ids: readonly string[]): Promise<Map<string, SecretGenerations>>;
  /** Gives a device the next secret after the one that it says it has. */
  offerSecret(id: string, has: number): Promise<void>;
  /** These devices have used the secret of this generation: the one before counts no more. */
  takeSecrets(rows: readonly { id: string; generation: number }[]): Promise<void>;
  /**
   * Its executions stay recorded, and so does that it was deleted, or moved `to` another installation.
   * `refuseKey`: no key that it ever had is to enrol again.
   */
  delete(id: string, at: number, how?: { to?: OtherInstallation; refuseKey?: boolean }): Promise<boolean>;
  setCopies(id: string, copies: Copies, clonedAt: number | null): Promise<void>;
  /** Nothing is known of copies any more. */
  forgetCopies(id: string): Promise<void>;
  /** Ids of the cloned ones. */
  cloned(): Promise<string[]>;
  /**
   * Applies connects and disconnects. A connect counts only when its session is larger than the one on
   * record, a disconnect when it is at least as large, so late and repeated reports change nothing.
   * `connected`: devices that have a newer session now, also those recorded as connected before;
   * `disconnected`: devices that had one and have none now.
   */
  applySessions(changes: readonly SessionChange[]): Promise<{ connected: string[]; disconnected: string[] }>;
  /**
   * What devices said of themselves at `at`; an earlier report than the one stored changes nothing. Returns
   * the devices of which something changed.
   */
  applyStatus(rows: readonly StatusReport[]): Promise<string[]>;
  /**
   * What devices measured, with the text that balancing counts them by. Rows that say the same already are
   * not written.
   */
  applyMeasures(
    rows: readonly { device: string; near: string; measured: MeasuredGateway[] }[],
  ): Promise<void>;
  /** Incarnations that devices are recorded as connected through. */
  incarnations(): Promise<string[]>;
  /** Devices recorded as connected through that incarnation, marked disconnected; at most `limit`. */
  disconnectIncarnation(incarnation: string, at: number, limit: number): Promise<string[]>;
  /** For projecting the directory: devices with an id above `after`, with the path of their group. */
  scan(after: string, limit: number): Promise<(Device & { groupPath: string })[]>;
  /** The same for some. */
  withPaths(ids: readonly string[]): Promise<(Device & { groupPath: string })[]>;
  /** Where these devices belong, and where they last connected. */
  places(ids: readonly string[]): Promise<DevicePlace[]>;
  /**
   * Devices recorded as connected, by their own group, gateway and what they measured; `groupPath` is that of
   * the group.
   */
  placements(): Promise<
    { groupId: string; groupPath: string; gateway: string; near: string; devices: number }[]
  >;
  /**
   * Ids above `after`, in order, of devices connected to the gateway, no later than `before`, that are in
   * this very group and measured alike.
   */
  connectedIn(
    gateway: string,
    of: { groupId: string; near: string },
    page: { after: string; before: number; limit: number },
  ): Promise<string[]>;
  /** Enrolled devices by their own group; groups without any are left out. */
  countByGroup(): Promise<{ groupId: string; groupPath: string; devices: number }[]>;
  /** Devices connected per gateway. */
  connectedByGateway(): Promise<Record<string, number>>;
  /**
   * Devices whose last session was on that gateway, ended by being told to go elsewhere, and that are nowhere
   * since.
   */
  sentAwayFrom(gateway: string, since: number): Promise<number>;
}

export interface EnrolmentTokens {
  create(token: EnrolmentToken): Promise<void>;
  list(page: PageRequest): Promise<Page<EnrolmentToken>>;
  /** Whatever its state. */
  get(id: string): Promise<EnrolmentToken | null>;
  /** Takes one use if the token is neither revoked, expired nor used up; tells why not. */
  use(
    id: string,
    now: number,
  ): Promise<{ token: EnrolmentToken } | { refused: 'unknown' | 'revoked' | 'expired' | 'used-up' }>;
  revoke(id: string, at: number): Promise<boolean>;
}

export interface ApiTokens {
  create(token: ApiToken & { hash: Uint8Array }): Promise<void>;
  list(page: PageRequest): Promise<Page<ApiToken>>;
  byHash(hash: Uint8Array): Promise<ApiToken | null>;
  revoke(id: string, at: number): Promise<boolean>;
  /** Whether a usable token of that role exists. */
  any(role: Role, now: number): Promise<boolean>;
  /** Until the transaction ends nobody else gets here: for servers that make the first token at once. */
  lockFirst(): Promise<void>;
  touch(id: string, at: number): Promise<void>;
}

export interface Gateways {
  get(name: string): Promise<Gateway | null>;
  /** As `Groups.getForChange`. */
  getForChange(name: string): Promise<Gateway | null>;
  list(page: PageRequest): Promise<Page<Gateway>>;
  all(): Promise<Gateway[]>;
  /** `false` when the name is taken. */
  create(gateway: Gateway): Promise<boolean>;
  /** Changes the given settings and grows the revision. */
  update(
    name: string,
    change: Partial<Pick<Gateway, 'groupId' | 'runPushServer' | 'port' | 'address' | 'connectionLimit'>>,
    at: number,
  ): Promise<Gateway | null>;
  /**
   * Begins (`since`) or ends (`null`) draining and grows the revision; `null` when there was nothing to
   * change.
   */
  setDraining(name: string, since: number | null, at: number): Promise<Gateway | null>;
  /** Once per drain: `true` for the caller that recorded it, while the revision is still that one. */
  markDrained(name: string, revision: number, at: number): Promise<boolean>;
  delete(name: string): Promise<boolean>;
}

export interface NewCommand extends Omit<Command, 'expanded' | 'cancelRequestedAt' | 'finishedAt'> {
  idempotency?: { key: string; bodyHash: Uint8Array };
}

/** The span is of `issuedAt`. */
export interface CommandFilter extends TimeSpan {
  type?: string;
  /** `open`: not every execution is final. */
  state?: 'open' | 'finished';
  /** Commands with an execution on this device. */
  device?: string;
}

/**
 * The idempotency key was accepted before from the same creator, for the command named: `existing` with the
 * same body, `conflict` with another one.
 */
export type KeyInUse = { existing: string } | { conflict: string };

/**
 * Through which worker and session each device can be reached now; who is not named cannot, or has no room.
 */
export type Routes = ReadonlyMap<string, { incarnation: string; session: number }>;

export interface Commands {
  create(command: NewCommand): Promise<{ created: true } | KeyInUse>;
  /**
   * `create` and `expand` of commands that name their devices, in one go: for each either the devices it is
   * queued for, those it is sent to, and for how many it was canceled at once, or why it was not made: the
   * devices that are not recorded, or else an idempotency key in use, be it by one earlier in the list. A
   * device that two of the commands name is sent neither.
   */
  createListed(
    commands: readonly (NewCommand & { target: { devices: string[] } })[],
    now: number,
    routes?: Routes,
  ): Promise<{
    answers: ({ queued: string[]; sent: string[]; canceled: number } | { unknown: string[] } | KeyInUse)[];
    superseded: ExecutionKey[];
  }>;
  get(id: string): Promise<Command | null>;
  getMany(ids: readonly string[]): Promise<Command[]>;
  list(filter: CommandFilter, page: PageRequest): Promise<Page<Command>>;
  counts(ids: readonly string[]): Promise<Map<string, StateCounts>>;
  /** Commands whose executions do not all have rows yet, oldest first. */
  unexpanded(limit: number): Promise<string[]>;
  /**
   * Makes the next `limit` execution rows of a command, in device id order, in one transaction with its
   * cursor: queued, sent at once when the device has a route and nothing queued or sent, so that nothing is
   * overtaken (`markSent` says what that means), or canceled at once when the command was canceled or the
   * device is blocked. With a collapse key, and unless it is skipped where a device is offline, supersedes
   * queued executions of older commands with the same key on these devices. Two servers calling at once do
   * not make a row twice. `queued` and `sent` are the devices with such a row now; `superseded` those
   * superseded.
   */
  expand(
    id: string,
    limit: number,
    now: number,
    routes?: Routes,
  ): Promise<{
    queued: string[];
    sent: string[];
    superseded: { command: string; device: string }[];
    done: boolean;
  }>;
  /**
   * Devices that `expand` with the same `limit` would make rows for now, or once it has come to the device
   * `after`, to find their routes; somebody else may be faster.
   */
  nextToExpand(id: string, limit: number, after?: string): Promise<string[]>;
  /** `false` for a command that is unknown or finished; asked again, the first time stays recorded. */
  requestCancel(id: string, at: number): Promise<boolean>;
  /**
   * Sets `finishedAt` of those among `ids` that are expanded and have no open execution; returns which.
   * `free` leaves out those that another transaction is changing, so that it waits for nobody.
   */
  finishIfDone(ids: readonly string[], at: number, only?: 'free'): Promise<string[]>;
  /**
   * Open commands, for the sweep that catches what `finishIfDone` missed; each call goes on where the one
   * before ended, and starts again after a page that was not full.
   */
  openIds(limit: number): Promise<string[]>;
  /** Deletes finished commands with their executions that finished before then; returns how many. */
  prune(finishedBefore: number, limit: number): Promise<number>;
}

export interface ExecutionKey {
  command: string;
  device: string;
}

export interface QueuedExecution extends ExecutionKey {
  /** The command's. */
  expiresAt: number;
  collapseKey: string | null;
}

export interface QueuedExecutions {
  due: QueuedExecution[];
  /** Devices that have more queued than they have room for. */
  heldBack: string[];
}

/** What devices said of one execution in one batch of receipts, reduced to the furthest state. */
export interface Advance extends ExecutionKey {
  state: ExecutionState;
  ackedAt: number | null;
  startedAt: number | null;
  finishedAt: number | null;
  finishBy: number | null;
  percent: number | null;
  note: string | null;
  reason: string | null;
  data?: unknown;
  /** `data` is what the device sealed, reason included, encrypted. */
  secret?: true;
  /** It takes a while to write `data` down: that is worth a look whether it is wanted. */
  longData?: boolean;
}

/** The span is of the command's `issuedAt`. */
export interface ExecutionFilter extends TimeSpan {
  command?: string;
  device?: string;
  state?: ExecutionState;
  finished?: TimeSpan;
}

export type Clock = 'finish' | 'delivery' | 'ending';

export interface DueExecution extends ExecutionKey {
  state: ExecutionState;
  /** The moment that counts. */
  asOf: number;
  /** How often it was sent. */
  attempts: number;
  ending: EndCause | null;
  /** The session the device has, as far as is known. */
  session: { incarnation: string; since: number } | null;
  /** The incarnation it was last sent through. */
  through: string | null;
}

export interface Executions {
  get(key: ExecutionKey): Promise<Execution | null>;
  /** `withData`: with what devices returned, which may be long; otherwise `data` is `null`. */
  list(filter: ExecutionFilter, page: PageRequest, withData?: boolean): Promise<Page<Execution>>;
  /**
   * Queued executions of these devices, oldest command first: so many that with those sent and not
   * acknowledged a device has at most `perDevice`.
   */
  queuedFor(devices: readonly string[], perDevice: number): Promise<QueuedExecutions>;
  /** Devices recorded as connected that have something queued; the sweep that catches missed wakes. */
  connectedWithQueued(limit: number): Promise<string[]>;
  /**
   * queued -> sent, for those still queued; returns them. Two dispatchers never both get one.
   */
  markSent(
    rows: readonly (ExecutionKey & { incarnation: string; session: number })[],
    at: number,
  ): Promise<ExecutionKey[]>;
  /** sent -> queued, for those still sent through that incarnation. */
  requeue(rows: readonly ExecutionKey[], incarnation: string): Promise<ExecutionKey[]>;
  /** sent -> queued, for whatever was sent to these devices in sessions up to the one given. */
  requeueSessions(rows: readonly { device: string; session: number }[]): Promise<ExecutionKey[]>;
  /** sent -> queued, for whatever was sent through that incarnation; at most `limit`. */
  requeueIncarnation(incarnation: string, limit: number): Promise<ExecutionKey[]>;
  /** Sent and not acknowledged, by the incarnation it went through. */
  sentByIncarnation(): Promise<Map<string, number>>;
  /** Incarnations that something recorded as sent went through. */
  incarnations(): Promise<string[]>;
  /** sent -> queued, for whatever was sent before then; at most `limit`. */
  requeueSentBefore(before: number, limit: number): Promise<ExecutionKey[]>;
  /**
   * Moves open executions forward, never back: a row whose state is not further than the recorded one
   * changes nothing but the times and progress that were unknown. On an execution that is already final, a
   * reported end is kept as `late`. `changed`: rows whose state changed. `current`: for every row with a
   * final `state` and for every `acked` or `running` row that found the execution final or missing, the state
   * recorded now (`null`: no such execution). `late`: what is kept as late now.
   */
  advance(rows: readonly Advance[]): Promise<{
    changed: (ExecutionKey & { state: ExecutionState })[];
    current: (ExecutionKey & { state: ExecutionState | null })[];
    late: { ended: ExecutionState; state: ExecutionState; inTime: boolean }[];
  }>;
  /**
   * Gives a final state to those still in one of `from`; returns them with the state they were in. `asOf`:
   * the moment that counted; `at` when absent.
   */
  finish(
    rows: readonly (ExecutionKey & { asOf?: number })[],
    from: readonly ExecutionState[],
    state: ExecutionState,
    reason: string,
    at: number,
  ): Promise<(ExecutionKey & { state: ExecutionState })[]>;
  /**
   * Ends those that were never sent, as of now, and marks those that were and are in a state that `ending`
   * counts for: they are sent no more, and are `due` to end as of `at`. An acknowledgement takes the mark
   * away again, unless it was made by force.
   */
  end(
    rows: readonly ExecutionKey[],
    ending: EndCause,
    at: number,
  ): Promise<{ ended: ExecutionKey[]; marked: ExecutionKey[] }>;
  /**
   * When the next end is due by any clock; of deliver-by times only those above `expiredUpTo`. Costs three
   * reads of an index.
   */
  nextDue(expiredUpTo: number): Promise<number | null>;
  /**
   * What is due before then, in the order of its moment, from the one after `after` on: by the finish-by time
   * (acked, running), the deliver-by time (queued, sent) or because it is marked. Of deliver-by times only
   * those above `expiredUpTo`; 0 when absent.
   */
  due(
    clock: Clock,
    before: number,
    after: DueExecution | null,
    limit: number,
    expiredUpTo?: number,
  ): Promise<DueExecution[]>;
  /** Open executions in the order of their devices and commands, from the one after `after` on. */
  open(
    after: ExecutionKey | null,
    limit: number,
  ): Promise<(ExecutionKey & { state: ExecutionState; ackedAt: number | null })[]>;
  /** Of those the ones of these devices that were acknowledged before a moment. */
  ackedBefore(
    devices: readonly string[],
    before: number,
    after: ExecutionKey | null,
    limit: number,
  ): Promise<ExecutionKey[]>;
  /** Executions of a command in one of these states with a device id above `after`. */
  ofCommand(
    command: string,
    states: readonly ExecutionState[],
    after: string,
    limit: number,
  ): Promise<string[]>;
  /** Open executions of a device (queued, sent, acked, running), of commands above `after`. */
  openOf(
    device: string,
    limit: number,
    after?: string,
  ): Promise<(ExecutionKey & { state: ExecutionState })[]>;
  /**
   * Supersedes (as `end` does) queued executions of these devices for which a newer command with the same
   * collapse key exists.
   */
  supersedeStale(devices: readonly string[], at: number): Promise<ExecutionKey[]>;
}

export interface NewTunnel
  extends Pick<
    Tunnel,
    'id' | 'deviceId' | 'host' | 'port' | 'reason' | 'createdBy' | 'createdAt' | 'expiresAt' | 'end'
  > {
  /** Absent for one that ends as it begins. */
  at: TunnelTurn | null;
}

/** The span is of `createdAt`. */
export interface TunnelFilter extends TimeSpan {
  device?: string;
  /** `live`: not ended. */
  state?: TunnelState | 'live';
  createdBy?: string;
}

/** What a worker said of a tunnel it has or had. Byte counts are totals since the tunnel came to it. */
export interface TunnelReport {
  tunnel: string;
  incarnation: string;
  here?: { side: 'device' | 'operator'; joined: boolean };
  bytesUp?: number;
  bytesDown?: number;
  streams?: number;
  refused?: boolean;
  end?: { code: string; reason: string };
}

/** What a live tunnel depends on. */
export interface TunnelDependencies {
  tunnel: Tunnel;
  /** Of the command that tells the device; `null` when it is not recorded (yet). */
  command: { state: ExecutionState; reason: string | null } | null;
  /** The token it was opened with is revoked, expired or unknown. */
  tokenEnded: boolean;
  device: 'enrolled' | 'blocked' | 'deleted';
}

export interface Tunnels {
  /** Refused when as many are live as there may be for this device, or this operator. */
  create(
    tunnel: NewTunnel,
    limits: { perDevice: number; perOperator: number },
  ): Promise<'created' | 'device-full' | 'operator-full'>;
  get(id: string): Promise<Tunnel | null>;
  /** Newest first. */
  list(filter: TunnelFilter, page: PageRequest): Promise<Page<Tunnel>>;
  /** Live tunnels by the incarnation they are on. */
  liveByIncarnation(): Promise<Map<string, number>>;
  /** All live tunnels with what may end them. */
  dependencies(now: number): Promise<TunnelDependencies[]>;
  /** Goes on at another worker, if it is live and on that turn still; nobody is there yet. */
  move(id: string, fromTurn: number, to: TunnelTurn, at: number): Promise<Tunnel | null>;
  /**
   * Takes reports in the order they were made. One of a worker that the tunnel has left counts its bytes and
   * changes nothing else. `opened` and `ended`: tunnels that are so for the first time; `arrived`: moved ones
   * that have both ends again, and the incarnation they left; `refused`: at most ten times each. A worker
   * that got a new incarnation and still has its tunnels is known by its name: `workerOf` tells that of an
   * incarnation.
   */
  apply(
    reports: readonly TunnelReport[],
    at: number,
    workerOf?: (incarnation: string) => string | undefined,
  ): Promise<{
    opened: Tunnel[];
    ended: Tunnel[];
    refused: Tunnel[];
    arrived: { id: string; left: string }[];
  }>;
  /** Ends those that are live; returns them. `onTurn`: only while it is on that turn. */
  end(
    tunnels: readonly { id: string; onTurn?: number; code: string; reason: string }[],
    at: number,
  ): Promise<Tunnel[]>;
  /** Deletes tunnels that ended before then; returns how many. */
  prune(endedBefore: number, limit: number): Promise<number>;
}

export interface Events {
  /**
   * Appends in commit order: no reader ever sees a number before a smaller one (PostgreSQL takes an advisory
   * lock).
   */
  append(events: readonly { at: number; type: string; data: unknown }[]): Promise<void>;
  after(seq: number, limit: number): Promise<LedgerEvent[]>;
  /** Number of the first one kept that is not older; `null` when all are. */
  firstSince(at: number): Promise<number | null>;
  /** Smallest and largest recorded number; 0 and 0 when there is none. */
  bounds(): Promise<{ first: number; last: number }>;
  /** Drops events older than `before` and all but the newest `keep`. */
  prune(before: number, keep: number): Promise<number>;
}

export interface NewAuditEntry {
  at: number;
  actor: string;
  action: string;
  subject: string;
  detail: unknown;
}

export interface Audit {
  /** In this order. */
  append(...entries: readonly NewAuditEntry[]): Promise<void>;
  /** Newest first. */
  list(page: PageRequest & TimeSpan): Promise<Page<AuditEntry>>;
}

/** Named single values: the signing key, the directory's epoch. */
export interface Meta {
  /**
   * The database's own clock, milliseconds since the Unix epoch; `null` where it has that of this process.
   */
  clock(): Promise<number | null>;
  get(key: string): Promise<string | null>;
  /** Sets the value if there is none; returns the recorded one afterwards. */
  setOnce(key: string, value: string): Promise<string>;
  set(key: string, value: string): Promise<void>;
  setMany(rows: readonly { key: string; value: string }[]): Promise<void>;
  /** Sets the value if the recorded one is `before`, `null` for none; whether it did. */
  replace(key: string, before: string | null, value: string): Promise<boolean>;
  /** Those whose key begins with `prefix`. */
  list(prefix: string): Promise<{ key: string; value: string }[]>;
  delete(keys: readonly string[]): Promise<void>;
  /**
   * Takes or keeps the lease `key` until `now + ttlMs`; `false` while another owner holds it. With a `ttlMs`
   * of 0 the owner gives it back. Times are the callers' clocks.
   */
  hold(key: string, owner: string, ttlMs: number, now: number): Promise<boolean>;
}

export type { CommandTarget, EndCause, GroupKeyName };
