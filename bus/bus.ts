/**
 * Everything that passes between gateways and administration servers. One interface has two implementations:
 * `memory-bus.ts` for everything in one process, `redis/` for everything else; `test/bus/contract.ts` holds
 * both to the same rules.
 *
 * Every method that talks to Redis rejects with `BusUnavailable` when it cannot; nothing is queued inside the
 * bus, so the caller always knows what failed and keeps it.
 */
import type {
  Compliance,
  Edition,
  MeasuredGateway,
  SignedPass,
  SignedServerKeys,
  TunnelSide,
} from '../protocol/index.ts';

export class BusUnavailable extends Error {
  override readonly name = 'BusUnavailable';
}

/* ---- installation ---- */

/**
 * One database, and every program that works for it. `id` is random and made with the database, an
 * identifier; `epoch` counts from 1 and grows when an older copy of the database was restored.
 */
export interface Installation {
  id: string;
  epoch: number;
}

/**
 * Proves that an administration server of the installation began an epoch; the same for the same installation
 * and epoch. Only they can make it, so nobody else who writes to the bus can raise the epoch.
 */
export interface EpochSeal {
  of(installation: Installation): string;
}

/** Which installation the bus serves. Each installation that shares a Redis needs its own prefix. */
export interface Owner {
  /**
   * The installation of this program. A gateway has no database: it learns the installation here, once.
   * `null` until then.
   */
  readonly current: Installation | null;
  /** The latest epoch that the bus has, whoever wrote it there; 0 until it was looked at. */
  readonly seen: number;
  /**
   * An administration server claims the bus for its installation before it uses the bus in any other way.
   * Rejects with `ForeignInstallation` when the bus belongs to another installation, and with
   * `InstallationRestored` when a later epoch was seen. With `seal`, a later epoch that no server made is
   * corrected instead; without it, any epoch counts.
   */
  claim(own: Installation, seal?: EpochSeal): Promise<void>;
  /**
   * The current installation of the bus, and the latest epoch it has seen; 0 for one that `seal` did not
   * make. `null`: none.
   */
  held(seal?: EpochSeal): Promise<Installation | null>;
}

/** The bus serves another installation. */
export class ForeignInstallation extends Error {
  override readonly name = 'ForeignInstallation';
}

/** The database is older than what the bus has seen. */
export class InstallationRestored extends Error {
  override readonly name = 'InstallationRestored';
}

/* ---- leases: which worker is alive ---- */

/** Who a worker is; constant for the life of its lease. */
export interface WorkerIdentity {
  /** The gateway's name and the worker's number in it, for example `gw1/0`. */
  worker: string;
  gateway: string;
  /** Host and process, for people. */
  host: string;
  pid: number;
  version: string;
  /**
   * Settings the gateway was started with. They register a gateway that the administration server does not
   * know yet.
   */
  initial: GatewaySettings;
  /** Raw public key of the worker's canary (canary.ts); absent when it keeps none. */
  canaryKey?: Uint8Array;
}

export interface WorkerLoad {
  connections: number;
  /** Most connections it accepts: its share of the gateway's limit, or what its file descriptors allow. */
  limit: number;
  /** Sessions admitted since the last extension, per second. */
  admissionRate: number;
  /** Bytes buffered for slow readers. */
  bufferedBytes: number;
  /** Resident memory, bytes, and share of one core used, 0 to 1. */
  memoryBytes: number;
  cpu: number;
  /** Round trips of WebSocket pings to a sample of its devices; absent until some were measured. */
  roundTripMs?: { p50: number; p90: number; p99: number };
  /** Port it listens on; absent while it does not listen (off, full, leaving). */
  port?: number;
  /** Revision of the gateway's settings it has applied; 0 for those it was started with. */
  revision: number;
  /** Edition of the server keys that all its devices were sent (K-5). */
  keys?: Edition;
  /** Set while it sends its devices away: why, and how many are left. */
  leaving?: { why: LeavingReason; left: number };
  /** Why the worker does not serve as its settings say; absent when it does. */
  problem?: string;
  /** Tunnels it has, and tunnels it can still accept. Absent: it accepts none. */
  tunnels?: { open: number; limit: number };
  /** What a person should change although it serves; absent when there is nothing. */
  warnings?: string[];
}

/**
 * `drain`: an operator drains the gateway; `off`: its push server was switched off; `port`: devices of the
 * old port.
 */
export type LeavingReason = 'drain' | 'off' | 'port' | 'stop';

export interface Lease {
  /** A fresh nanoid for every acquisition: two leases of one worker never share it. */
  incarnation: string;
  identity: WorkerIdentity;
  load: WorkerLoad;
  /** When it was acquired, by the bus' own clock. */
  since: number;
  /** The newest `heard`; 0 before the first. */
  heardUpTo: number;
  /** Of the certificate that vouches for it; absent where none is needed. */
  serial?: string;
}

export interface Leases {
  /** Makes a new incarnation and an empty outbox for it. */
  acquire(identity: WorkerIdentity, load: WorkerLoad, ttlMs: number): Promise<string>;
  /** `lost`: it expired; the worker must acquire a new one. Never revives an expired lease. */
  extend(incarnation: string, load: WorkerLoad, ttlMs: number): Promise<'held' | 'lost'>;
  /**
   * States that all receipts the worker had at `upTo` or earlier, by `BusClock.now`, have been appended. Does
   * nothing without a lease.
   */
  heard(incarnation: string, upTo: number): Promise<void>;
  /** Asks these workers to call `heard` now. A hint: it may be lost or arrive twice. */
  askHeard(incarnations: readonly string[]): Promise<void>;
  /**
   * Calls `onAsked` soon after this worker was asked, and whenever a hint may have been missed. Returns a
   * function that stops it.
   */
  onAskHeard(incarnation: string, onAsked: () => void): Promise<() => Promise<void>>;
  /**
   * Ends the lease and drops its outbox. Idempotent. With `allHeard` the worker states that it will append
   * nothing more; `left` reports it for at least 15 minutes.
   */
  release(incarnation: string, options?: { allHeard?: boolean }): Promise<void>;
  /** Those of `incarnations` that were released with `allHeard`. */
  left(incarnations: readonly string[]): Promise<string[]>;
  /** All leases that have not expired. */
  list(): Promise<Lease[]>;
}

/* ---- shared clock ---- */

/**
 * One time for all programs of an installation, whatever their own clocks say: the clock of the Redis server
 * that keeps the receipts, or of the process when there is no Redis. Between measurements it follows the
 * monotonic clock, and small corrections never turn it back.
 */
export interface BusClock {
  /** Milliseconds since the Unix epoch; the process's own clock until the first measurement. */
  now(): number;
  /** How far the process's own clock is ahead of `now`, milliseconds; `null` before the first measurement. */
  aheadMs(): number | null;
}

/* ---- outboxes: pending deliveries of a worker ---- */

/**
 * One outbox entry: a frame, encoded once, for all `devices` this worker holds. With `commandId` the worker
 * reports devices it could not hand the frame to as `undelivered`. With `close`, the sessions named are
 * closed after the frame (if any) is sent; `sessions[i]` belongs to `devices[i]` and 0 means whatever session
 * the device has. `tunnel` and `tunnelEnd` are for the worker itself and come with no devices.
 */
export interface Delivery {
  devices: string[];
  frame?: Uint8Array;
  commandId?: string;
  close?: { code: number; reason: string; sessions?: number[] };
  tunnel?: TunnelGrant;
  /** Ends the tunnel, joined or not; both legs get `reason`. */
  tunnelEnd?: { id: string; reason: string };
}

/**
 * Two legs may join here. A grant for a tunnel that the worker already has carries new tickets, so the tunnel
 * can continue after a leg was away for too long.
 */
export interface TunnelGrant {
  /** An identifier. */
  id: string;
  device: string;
  /** The device's target, for the log. */
  host: string;
  port: number;
  /** SHA-256 (32 bytes) of each side's ticket, the text as it travels. */
  deviceHash: Uint8Array;
  operatorHash: Uint8Array;
  /** The tickets expire, milliseconds since the Unix epoch. */
  joinBy: number;
  /** The tunnel ends after this long without a message, milliseconds. */
  idleMs: number;
  /** The tunnel ends this long after the grant, milliseconds. */
  lifeMs: number;
  /** The tunnel ends after this many bytes in both directions together, at this worker; 0: no limit. */
  maxBytes: number;
}

/**
 * `joined`: a side's ticket was valid. `left`: its leg is gone; it may resume. `resumed`: it did. `counters`:
 * figures of an active tunnel, every 10 s. `moving`: the legs know that the gateway is leaving. `refused`: a
 * leg that named this tunnel was rejected; `reason` is a `TunnelRefusal`. `ended`: over at this worker;
 * `reason` is a `TunnelEndReason`, or what `tunnelEnd` said.
 */
export const TUNNEL_EVENTS = ['joined', 'left', 'resumed', 'counters', 'moving', 'refused', 'ended'] as const;
export type TunnelEvent = (typeof TUNNEL_EVENTS)[number];

export interface OutboxEntry {
  offset: string;
  delivery: Delivery;
}

/**
 * A reader's position: entries with an offset above `offset` are unread. `epoch` changes when an outbox is
 * lost.
 */
export interface Position {
  epoch: string;
  offset: string;
}

export interface OutboxRead {
  position: Position;
  entries: OutboxEntry[];
  /** The outbox is not the one `position` was taken from: its contents are gone (Redis lost its data). */
  lost: boolean;
}

export interface Outboxes {
  /**
   * Appends and announces in one atomic step, in order. `gone`: that incarnation no longer has a lease;
   * nothing was appended. `full`: its reader is too far behind (more than `OUTBOX_MAX_ENTRIES`); nothing was
   * appended.
   */
  append(incarnation: string, deliveries: readonly Delivery[]): Promise<'appended' | 'gone' | 'full'>;
  /** Reads up to `limit` entries above `position`; `null` reads from the start. */
  read(incarnation: string, position: Position | null, limit: number): Promise<OutboxRead>;
  /** Drops entries up to and including `position.offset`. */
  trim(incarnation: string, position: Position): Promise<void>;
  /**
   * Calls `onHint` soon after an append, and whenever a hint may have been missed (the subscription was
   * renewed). A hint may be lost or arrive twice: the outbox is the truth. Returns a function that stops it.
   */
  onHint(incarnation: string, onHint: () => void): Promise<() => Promise<void>>;
}

/** Entries an outbox may hold, unread or not trimmed yet, before `append` answers `full`. */
export const OUTBOX_MAX_ENTRIES = 40_000;

/* ---- receipts: reports of devices and workers ---- */

/**
 * `at` is when the worker received it, by `BusClock.now`; `session` orders the sessions of one device. The
 * bus adds `from`, the gateway that brought it; absent where gateways seal nothing.
 */
export type Receipt = ReceiptContent & { from?: string };

type ReceiptContent =
  | {
      kind: 'connected';
      device: string;
      session: number;
      incarnation: string;
      worker: string;
      gateway: string;
      address: string;
      software: string;
      caps: string[];
      /** Edition of the membership that the device holds, or was sent right after `welcome` (S-7). */
      membership: Edition;
      /** Mark of the public key that it proved (key-mark.ts). */
      key?: number;
      /** The session this one took the device over from, when that was still held. */
      replaced?: number;
      /** The device's current name for itself. */
      name?: string;
      /** The device reports that another program with its key ended its last session. */
      displaced?: true;
      at: number;
    }
  | { kind: 'disconnected'; device: string; session: number; code: number; reason: string; at: number }
  | {
      kind: 'status';
      device: string;
      policy?: string;
      compliance?: Compliance;
      /** Its latest measurements, which replace earlier ones (B-1). */
      measured?: MeasuredGateway[];
      at: number;
    }
  | { kind: 'ack'; device: string; command: string; at: number }
  | { kind: 'progress'; device: string; command: string; percent?: number; note?: string; at: number }
  | {
      kind: 'result';
      device: string;
      command: string;
      /** As the device wrote it, and its MAC: nobody but the ledger reads it. */
      body: Uint8Array;
      mac: Uint8Array;
      /** The worker that brought it. */
      worker: string;
      at: number;
    }
  /** The device asks for the key of a group. */
  | { kind: 'want'; device: string; group: string; epoch: number; number: number; at: number }
  /** The worker could not deliver `command` to these devices: they are not connected here, or do not read. */
  | { kind: 'undelivered'; command: string; devices: string[]; incarnation: string; at: number }
  /** The worker's outbox is gone; deliveries sent through it may not have arrived. */
  | { kind: 'outbox-lost'; incarnation: string; at: number }
  /**
   * A change of a tunnel. Bytes count all messages between the legs since the tunnel came to this worker:
   * `bytesUp` from the device, `bytesDown` from the operator. `streams`: open now, as reported by the device.
   */
  | {
      kind: 'tunnel';
      tunnel: string;
      device: string;
      event: TunnelEvent;
      side?: TunnelSide;
      reason?: string;
      /** Where the leg came from, with `joined`, `resumed` and `refused`. */
      address?: string;
      bytesUp: number;
      bytesDown: number;
      streams: number;
      incarnation: string;
      at: number;
    };

/** Receipts kept aside, and the longest one, bytes; of a longer one only the reason is kept. */
export const ASIDE_MAX = { receipts: 1_000, bytes: 64 * 1024 } as const;

export interface Receipts {
  /**
   * Appends a whole batch or nothing. `bytes` is its approximate size, for a bus that does not encode it.
   * `full`: administration servers are too far behind; nothing was appended.
   */
  append(batch: readonly Receipt[], bytes?: number): Promise<'appended' | 'full'>;
  /**
   * Hands batches to `apply` until the returned function is called; each batch goes to one consumer and is
   * dropped once `apply` resolves. Batches that a consumer left unfinished (it died, `apply` rejected) are
   * handed to any consumer after `redeliverAfterMs`, so `apply` must be idempotent.
   */
  consume(
    consumer: string,
    apply: (batch: readonly Receipt[]) => Promise<void>,
    options?: { maxBatch?: number; redeliverAfterMs?: number },
  ): Promise<() => Promise<void>>;
  /** Keeps the newest receipts that no consumer can apply, for a person to inspect. Nobody consumes them. */
  putAside(wrong: readonly { receipt: unknown; why: string }[]): Promise<void>;
  /** Batches appended and not yet dropped. */
  backlog(): Promise<number>;
  /** Age of the oldest of them, milliseconds; 0 when there is none. */
  oldestAgeMs(): Promise<number>;
  /**
   * Positions in the order of appending, comparable as text. `appended`: the newest batch ever appended;
   * `open`: the oldest not yet dropped, `null` for none. Everything up to `appended` is applied once `open`
   * is `null` or greater, provided `stream` is unchanged. A different `stream` means that the data was
   * emptied, and its receipts may never have been applied.
   */
  progress(): Promise<{ appended: string; open: string | null; stream: string }>;
}

/** Appended batches that may wait before `append` answers `full`. */
export const RECEIPTS_MAX_ENTRIES = 100_000;
/** Most bytes of all waiting batches together: devices choose how long a result is. */
export const RECEIPTS_MAX_BYTES = 256 * 1024 * 1024;

/* ---- presence: which worker holds a device ---- */

export interface Holder {
  incarnation: string;
  session: number;
}

export interface PresenceClaim {
  device: string;
  /**
   * Absent: claim the device, whoever holds it (a new connection). Present: claim it only if nobody or this
   * very session holds it (a worker that lost its lease claims its devices again).
   */
  heldSession?: number;
}

export interface Presence {
  /**
   * For each claim, in order: the new holder's session number, larger than any earlier one of that device,
   * and who held it before; or `null` when a newer session holds it (only with `heldSession`).
   */
  claim(
    incarnation: string,
    claims: readonly PresenceClaim[],
  ): Promise<({ session: number; previous?: Holder } | null)[]>;
  /** Removes each device's presence if that session still holds it (compare-and-delete). */
  release(incarnation: string, sessions: readonly { device: string; session: number }[]): Promise<void>;
  /**
   * Who holds each device, in order; a holder whose lease is gone may still be named: compare with
   * `Leases.list`.
   */
  locate(devices: readonly string[]): Promise<(Holder | null)[]>;
  /**
   * Removes entries of holders whose leases are gone. Checks about `limit` entries and continues there next
   * time, so occasional calls eventually clear everything that killed workers left behind. Returns the number
   * removed.
   */
  sweep(limit: number): Promise<number>;
}

/* ---- directory: what a gateway must know to admit a device ---- */

export interface DirectoryDevice {
  id: string;
  /** Raw Ed25519 public key, 32 bytes. */
  publicKey: Uint8Array;
  /** Whether it may connect; of those deleted, what is kept says so for a bounded time. */
  state: 'active' | 'blocked' | 'deleted';
  /** Ids of the groups the device is in, root first. */
  groups: string[];
  /** Encoded `order` frame with the device's signed membership, and its edition. */
  membership: Uint8Array;
  membershipEdition: Edition;
}

/** Settings of a gateway (distribution point) that an operator controls. */
export interface GatewaySettings {
  /** Group it serves, with all its subgroups. */
  group: string;
  runPushServer: boolean;
  /** Push server port, 1 to 65535. */
  port: number;
  /** Address for remote hosts: the URL devices dial, for example `wss://gw1.example.net:13295`. */
  address: string;
  connectionLimit: number;
}

/** How devices reach a gateway: the port it listens on, and the URL they dial. */
export interface ServedAddress {
  port: number;
  address: string;
}

export interface DirectoryGateway extends GatewaySettings {
  name: string;
  /**
   * The address that devices get, whatever the settings say: the one where a worker last listened. `null` if
   * none ever did; such a gateway is in no list.
   */
  told: ServedAddress | null;
  /** Former addresses. Devices that still come there are redirected to `told`. */
  former: ServedAddress[];
  /** Grows with every change of the settings; 0 for one that is not registered. */
  revision: number;
  /** Its pass for devices (protocol rule S-9); absent for a gateway that is not registered. */
  pass?: SignedPass;
  /** The installation's server keys, for devices (K-5): those of earlier roots, then the newest. */
  keys?: readonly SignedServerKeys[];
  /** Certificates issued before this must be renewed, milliseconds since the Unix epoch. */
  renewAfter?: number;
  /** Why it is not registered and serves nobody; it is listed so that the gateway itself can learn it. */
  refused?: string;
  /** An operator drains it: it admits nobody and sends its devices away until the drain is canceled. */
  draining: boolean;
  /** For `rankGateways`: its free capacity, in steps; 0 while it is down, full, off or draining. */
  weight: number;
}

/** State of the directory; cheap to query. */
export interface DirectoryState {
  /** New with every full write; `null` while the directory is incomplete. */
  generation: string | null;
  /** Entries in it. */
  devices: number;
  /** An administration server is writing all of it. */
  writing: boolean;
  /** Why it is incomplete. */
  problem?: string;
  /** Its contents changed in a way that no program of the installation causes: nothing in it is valid. */
  altered?: true;
}

/**
 * A full write of the directory. The previous contents stay valid until `finish`; `putDevices` and
 * `removeDevices` change both in the meantime. Both methods reject with `DirectoryIncomplete` as soon as
 * written data is gone or somebody else writes: then start a new full write.
 */
export interface DirectoryWriting {
  put(devices: readonly DirectoryDevice[]): Promise<void>;
  /**
   * Verifies that everything is there and marks the directory as complete, in one step; resolves with the
   * generation.
   */
  finish(): Promise<string>;
}

/** Complete or absent: a lost part never looks like a missing device. */
export interface Directory {
  look(): Promise<DirectoryState>;
  /**
   * Begins a full write. `null`: another administration server is writing. `clear`: the present contents are
   * invalid.
   */
  begin(options?: { clear?: boolean }): Promise<DirectoryWriting | null>;
  /**
   * States that an administration server maintains this generation. Gateways reject unknown devices
   * permanently only within `ttlMs` of this: a gateway cut off together with a part of Redis does not know
   * devices enrolled since.
   */
  vouch(generation: string, ttlMs: number): Promise<void>;
  /**
   * Inserts or replaces these. Does nothing while there is no directory and no write: the next full write
   * reads them from the database.
   */
  putDevices(devices: readonly DirectoryDevice[]): Promise<void>;
  removeDevices(ids: readonly string[]): Promise<void>;
  /**
   * In order; `null` for a device that is not in the directory. Rejects with `DirectoryIncomplete` when the
   * answer is unknown: when a device is missing or not active, and the directory is incomplete, unmaintained,
   * or another installation's.
   */
  devices(ids: readonly string[]): Promise<(DirectoryDevice | null)[]>;
  /** Replaces the whole list in one step. */
  setGateways(gateways: readonly DirectoryGateway[]): Promise<void>;
  putGateways(gateways: readonly DirectoryGateway[]): Promise<void>;
  removeGateway(name: string): Promise<void>;
  /** Rejects with `DirectoryIncomplete` while the list is not written, lost, or another installation's. */
  gateways(): Promise<DirectoryGateway[]>;
  /** Calls `onChange` soon after gateways were put or removed; hints may be lost, so poll as well. */
  onGatewaysChange(onChange: () => void): Promise<() => Promise<void>>;
}

/** A device cannot be looked up: the directory is absent, incomplete, or another installation's. */
export class DirectoryIncomplete extends Error {
  override readonly name = 'DirectoryIncomplete';
}

/* ---- joins: gateways that ask for a certificate ---- */

/**
 * Most pending requests, their longest form in bytes, and how long requests and answers are kept,
 * milliseconds. A gateway that still waits asks again.
 */
export const JOINS = { requestsMax: 100, requestBytesMax: 8 * 1024, keptMs: 600_000 } as const;

/** A request as its gateway wrote it; `id` is the SHA-256 of its content, 64 hexadecimal digits. */
export interface JoinRequested {
  id: string;
  request: Uint8Array;
}

/**
 * Requests to join and their answers. The bus vouches for neither: requests prove who asks, and answers are
 * signed and their secrets encrypted for the gateway that asked.
 */
export interface Joins {
  /**
   * Leaves the request for an administration server; repeating it keeps it longer. `full`: too many are
   * pending. Throws `RangeError` for one that is too long.
   */
  ask(id: string, request: Uint8Array): Promise<'asked' | 'full'>;
  /** Those without an answer, `JOINS.requestsMax` at most; longer ones than allowed are left out. */
  waiting(): Promise<JoinRequested[]>;
  /** Drops the request; its gateway finds the answer. */
  answer(id: string, answer: Uint8Array): Promise<void>;
  /** Drops requests without an answer. */
  drop(ids: readonly string[]): Promise<void>;
  /** `null`: none, or not yet. */
  answerTo(id: string): Promise<Uint8Array | null>;
}

/* ---- the whole ---- */

export interface BusStatus {
  available: boolean;
  /** When `available` last changed, milliseconds since the Unix epoch. */
  since: number;
  /** Why not, when not available. */
  reason?: string;
  /** Its parts, each with the server it is connected to. Absent when it has none. */
  parts?: BusPart[];
  /** Settings of Redis that work but may lose data and should be changed. */
  warnings?: string[];
  /** What was recently refused because no program of the installation wrote it, for people. */
  refused?: string[];
}

export interface BusPart {
  /** `commands`: reads and writes; `subscription`: receives hints; `receipts`: waits for receipts. */
  name: 'commands' | 'subscription' | 'receipts';
  /** Host and port. */
  server: string;
  ok: boolean;
  /** When `ok` last changed, milliseconds since the Unix epoch. */
  since: number;
  reason?: string;
}

/** Counters since the bus was created. */
export interface BusCounts {
  /** Connections that were reopened, for whatever reason. */
  reconnects: number;
  /** Subscriptions replaced because they delivered nothing. */
  subscriptionsReplaced: number;
  /** Times that Redis continued with another history of its data: a restart, a failover. */
  historyChanges: number;
  /** What was refused because no program of the installation wrote it, by kind. */
  refused: Readonly<Record<string, number>>;
  /**
   * Time from publishing a probe to receiving it, milliseconds; the last measured, `null` before the first.
   */
  probeRoundTripMs: number | null;
}

export interface Bus {
  readonly owner: Owner;
  readonly leases: Leases;
  readonly outboxes: Outboxes;
  readonly receipts: Receipts;
  readonly presence: Presence;
  readonly directory: Directory;
  readonly joins: Joins;
  readonly clock: BusClock;
  /**
   * Resolves once the bus works. Rejects with `BusUnavailable` when it does not come up within 10 s. With
   * `waiting` it keeps trying instead and calls `waiting` with the reason whenever that changes, until the
   * bus works or is stopped. Faults that a person must fix (a wrong password) reject either way.
   */
  start(options?: { waiting?: (reason: string) => void }): Promise<void>;
  /** Idempotent; consumers and hints end. */
  stop(): Promise<void>;
  status(): BusStatus;
  counts(): BusCounts;
}
