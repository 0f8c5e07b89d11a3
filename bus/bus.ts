/**
 * What passes between gateways and administration servers. One interface, two implementations:
 * `memory-bus.ts` for everything in one process, `redis/` for everything else; `test/bus/contract.ts` holds
 * both to the same rules.
 *
 * Every method that talks to Redis rejects with `BusUnavailable` when it cannot; nothing is queued inside the
 * bus, so the caller always knows what was not done and keeps it.
 */
import type { Compliance, Edition, MeasuredGateway, ReportableState, TunnelSide } from '../protocol/index.ts';

export class BusUnavailable extends Error {
  override readonly name = 'BusUnavailable';
}

/* ---- whose it is ---- */

/**
 * One database, and every program that works for it. `id` is random and made with the database, an
 * identifier; `epoch` counts from 1 and grows when an older copy of the database was restored.
 */
export interface Installation {
  id: string;
  epoch: number;
}

/** Which installation the bus serves. Two that share one Redis need a prefix each. */
export interface Owner {
  /** The one this program works for. A gateway has no database: it learns it here once, `null` until then. */
  readonly current: Installation | null;
  /**
   * An administration server takes the bus for its installation, before it does anything else with it.
   * Rejects with `ForeignInstallation` when it is another's, with `InstallationRestored` when a later epoch
   * was seen.
   */
  claim(own: Installation): Promise<void>;
  /** Whose the bus is at this moment, and the latest epoch it has seen; `null`: nobody's. */
  held(): Promise<Installation | null>;
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
  /** What the gateway was started with; registers a gateway the administration server does not know yet. */
  initial: GatewaySettings;
  /** Raw public key of the worker's canary (canary.ts); absent when it keeps none. */
  canaryKey?: Uint8Array;
}

export interface WorkerLoad {
  connections: number;
  /** Connections it takes at most: its share of the gateway's limit, or what its file descriptors allow. */
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
  /** It sends its devices away: why, and how many are left. */
  leaving?: { why: LeavingReason; left: number };
  /** Why the worker does not serve as its settings say; absent when it does. */
  problem?: string;
  /** Tunnels it has, and has room for. Absent: it takes none. */
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
  /** nanoid made anew with every acquisition: two leases of one worker never share it. */
  incarnation: string;
  identity: WorkerIdentity;
  load: WorkerLoad;
  /** When it was acquired, by the bus' own clock. */
  since: number;
  /** The newest `heard`; 0 before the first. */
  heardUpTo: number;
}

export interface Leases {
  /** Makes a new incarnation and an empty outbox for it. */
  acquire(identity: WorkerIdentity, load: WorkerLoad, ttlMs: number): Promise<string>;
  /** `lost`: it expired; the worker must acquire anew. Never revives a lease that expired. */
  extend(incarnation: string, load: WorkerLoad, ttlMs: number): Promise<'held' | 'lost'>;
  /**
   * All receipts that the worker had at `upTo` or earlier, by `BusClock.now`, have been appended. Without a
   * lease it does nothing.
   */
  heard(incarnation: string, upTo: number): Promise<void>;
  /** Asks these workers to say now up to when they heard. A hint: it may be lost or come twice. */
  askHeard(incarnations: readonly string[]): Promise<void>;
  /**
   * Calls `onAsked` soon after this worker was asked, and after every time that may have been missed. Returns
   * the way to stop.
   */
  onAskHeard(incarnation: string, onAsked: () => void): Promise<() => Promise<void>>;
  /**
   * Ends the lease and drops its outbox. Idempotent. With `allHeard` the worker has nothing left to append
   * and never will have: `left` says so for at least 15 minutes.
   */
  release(incarnation: string, options?: { allHeard?: boolean }): Promise<void>;
  /** Those of `incarnations` that were released with `allHeard`. */
  left(incarnations: readonly string[]): Promise<string[]>;
  /** All leases that have not expired. */
  list(): Promise<Lease[]>;
}

/* ---- the clock that all share ---- */

/**
 * One time for all programs of an installation, whatever their own clocks say: that of the Redis server that
 * keeps the receipts, or of the process where there is no Redis. Between measurements it goes on by the
 * monotonic clock, and small corrections never turn it back.
 */
export interface BusClock {
  /** Milliseconds since the Unix epoch; the process' own clock until it was measured. */
  now(): number;
  /** How far the process' own clock is ahead of `now`, milliseconds; `null` before it was measured. */
  aheadMs(): number | null;
}

/* ---- outboxes: what waits for a worker ---- */

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
  /** Ends the tunnel, joined or not; `reason` is told to both legs. */
  tunnelEnd?: { id: string; reason: string };
}

/**
 * Two legs may join here. A grant for a tunnel that the worker has already brings new tickets: it may go on
 * here after a leg was away for too long.
 */
export interface TunnelGrant {
  /** An identifier. */
  id: string;
  device: string;
  /** What the device will connect to, for the log. */
  host: string;
  port: number;
  /** SHA-256 (32 bytes) of each side's ticket, the text as it travels. */
  deviceHash: Uint8Array;
  operatorHash: Uint8Array;
  /** The tickets expire, milliseconds since the Unix epoch. */
  joinBy: number;
  /** It ends after so long without a message, milliseconds. */
  idleMs: number;
  /** It ends so long after the grant, milliseconds. */
  lifeMs: number;
  /** It ends after so many bytes both ways together, at this worker; 0: no limit. */
  maxBytes: number;
}

/**
 * `joined`: a side's ticket was good. `left`: its leg is gone; it may resume. `resumed`: it did. `counters`:
 * figures of a tunnel that is in use, every 10 s. `moving`: the legs were told that the gateway leaves.
 * `refused`: somebody who named this tunnel was not let in; `reason` is a `TunnelRefusal`. `ended`: over at
 * this worker; `reason` is a `TunnelEndReason`, or what `tunnelEnd` said.
 */
export const TUNNEL_EVENTS = ['joined', 'left', 'resumed', 'counters', 'moving', 'refused', 'ended'] as const;
export type TunnelEvent = (typeof TUNNEL_EVENTS)[number];

export interface OutboxEntry {
  offset: string;
  delivery: Delivery;
}

/**
 * Where a reader is: entries with an offset above `offset` are unread. `epoch` changes when an outbox is
 * lost.
 */
export interface Position {
  epoch: string;
  offset: string;
}

export interface OutboxRead {
  position: Position;
  entries: OutboxEntry[];
  /** The outbox is not the one `position` was taken from: what was in it is gone (Redis lost its data). */
  lost: boolean;
}

export interface Outboxes {
  /**
   * Appends and announces in one atomic step, in order. `gone`: that incarnation has no lease any more,
   * nothing was appended. `full`: its reader is too far behind (more than `OUTBOX_MAX_ENTRIES`), nothing was
   * appended.
   */
  append(incarnation: string, deliveries: readonly Delivery[]): Promise<'appended' | 'gone' | 'full'>;
  /** Reads up to `limit` entries above `position`; `null` reads from the start. */
  read(incarnation: string, position: Position | null, limit: number): Promise<OutboxRead>;
  /** Drops entries up to and including `position.offset`. */
  trim(incarnation: string, position: Position): Promise<void>;
  /**
   * Calls `onHint` soon after something was appended, and after every time a hint may have been missed (the
   * subscription was renewed). A hint may be lost or come twice: the outbox is the truth. Returns the way to
   * stop.
   */
  onHint(incarnation: string, onHint: () => void): Promise<() => Promise<void>>;
}

/** Entries an outbox may hold, unread or not trimmed yet, before `append` answers `full`. */
export const OUTBOX_MAX_ENTRIES = 40_000;

/* ---- receipts: what devices and workers say ---- */

/** `at` is when the worker had it, by `BusClock.now`; `session` orders the sessions of one device. */
export type Receipt =
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
      /** The session this one took the device over from, when that was still held. */
      replaced?: number;
      /** What the device calls itself now. */
      name?: string;
      /** The device says that another program with its key ended its last session. */
      displaced?: true;
      at: number;
    }
  | { kind: 'disconnected'; device: string; session: number; code: number; reason: string; at: number }
  | {
      kind: 'status';
      device: string;
      policy?: string;
      compliance?: Compliance;
      /** What it measured now, in place of what it said before (B-1). */
      measured?: MeasuredGateway[];
      at: number;
    }
  | { kind: 'ack'; device: string; command: string; at: number }
  | { kind: 'progress'; device: string; command: string; percent?: number; note?: string; at: number }
  | {
      kind: 'result';
      device: string;
      command: string;
      state: ReportableState;
      reason?: string;
      data?: unknown;
      at: number;
    }
  /** The worker could not hand `command` to these devices: they are not here, or did not read. */
  | { kind: 'undelivered'; command: string; devices: string[]; incarnation: string; at: number }
  /** The worker's outbox is gone; what was sent through it may not have arrived. */
  | { kind: 'outbox-lost'; incarnation: string; at: number }
  /**
   * What became of a tunnel. Bytes are those of all messages between the legs since the tunnel came to this
   * worker: `bytesUp` from the device, `bytesDown` from the operator; `streams` those open now, as the device
   * says.
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
   * Appends a batch whole or not at all. `bytes` is about how long it is, for a bus that does not encode it. `full`: administration servers are too far behind; nothing was appended. */
  append(batch: readonly Receipt[], bytes?: number): Promise<'appended' | 'full'>;
  /**
   * Hands batches to `apply` until the returned function is called; each batch goes to one consumer and is
   * dropped once `apply` resolves. What a consumer left unfinished (it died, `apply` rejected) is handed out
   * again, to whoever is there, after `redeliverAfterMs`: `apply` must be idempotent.
   */
  consume(
    consumer: string,
    apply: (batch: readonly Receipt[]) => Promise<void>,
    options?: { maxBatch?: number; redeliverAfterMs?: number },
  ): Promise<() => Promise<void>>;
  /** Keeps what no consumer can apply where a person can look at it, the newest only. Nobody consumes it. */
  putAside(wrong: readonly { receipt: unknown; why: string }[]): Promise<void>;
  /** Batches appended and not yet dropped. */
  backlog(): Promise<number>;
  /** For how long the oldest of them has been waiting, milliseconds; 0 when there is none. */
  oldestAgeMs(): Promise<number>;
  /**
   * Places in the order of appending, to be compared as text: that of the newest batch ever appended, and
   * that of the oldest which is not dropped, `null` for none. What was appended up to `appended` is applied
   * once `open` is `null` or greater, while `stream` stays the same: another one stands for data that was
   * emptied, and what was in there may never have been applied.
   */
  progress(): Promise<{ appended: string; open: string | null; stream: string }>;
}

/** Appended batches that may wait before `append` answers `full`. */
export const RECEIPTS_MAX_ENTRIES = 100_000;
/** And most bytes of them together: devices choose how long a result is. */
export const RECEIPTS_MAX_BYTES = 256 * 1024 * 1024;

/* ---- presence: which worker holds a device ---- */

export interface Holder {
  incarnation: string;
  session: number;
}

export interface PresenceClaim {
  device: string;
  /**
   * Absent: take the device, whoever holds it (a new connection). Present: take it only if nobody holds it or
   * this very session does (a worker that lost its lease claims anew what it still has).
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
   * Removes entries of holders whose leases are gone. Looks at about `limit` entries, going on where it left
   * off, so calling it now and then keeps what killed workers left behind from staying for ever. Returns how
   * many it removed.
   */
  sweep(limit: number): Promise<number>;
}

/* ---- directory: what a gateway must know to admit a device ---- */

export interface DirectoryDevice {
  id: string;
  /** Raw Ed25519 public key, 32 bytes. */
  publicKey: Uint8Array;
  blocked: boolean;
  /** Ids of the groups the device is in, root first. */
  groups: string[];
  /** Encoded `order` frame with the device's signed membership, and its edition. */
  membership: Uint8Array;
  membershipEdition: Edition;
}

/** What an operator sets for a gateway (distribution point). */
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

/** Where devices come to a gateway: the port it listens on, and the URL they dial. */
export interface ServedAddress {
  port: number;
  address: string;
}

export interface DirectoryGateway extends GatewaySettings {
  name: string;
  /**
   * What devices are told, whatever the settings ask for: the address a worker listened at last. `null`
   * before one did; such a gateway is in no list.
   */
  told: ServedAddress | null;
  /** Where it listened before. Devices may still come there, and are sent to `told`. */
  former: ServedAddress[];
  /** Grows with every change of the settings; 0 for one that is not registered. */
  revision: number;
  /** Why it is not registered, so that it serves nobody; it is listed for itself to know. */
  refused?: string;
  /** An operator drains it: it admits nobody and sends its devices away until this is taken back. */
  draining: boolean;
  /** For `rankGateways`: its free capacity, in steps; 0 while it is down, full, off or draining. */
  weight: number;
}

/** How the directory is; cheap to ask for. */
export interface DirectoryState {
  /** New with every writing; `null` while the directory is not whole. */
  generation: string | null;
  /** Entries in it. */
  devices: number;
  /** An administration server writes all of it now. */
  writing: boolean;
  /** Why it is not whole. */
  problem?: string;
  /** Its contents changed in a way that no program of the installation changes them: nothing in it counts. */
  altered?: true;
}

/**
 * A directory being written. What was there before stays valid until `finish`, and what `putDevices` and
 * `removeDevices` change meanwhile goes into both. Both methods reject with `DirectoryIncomplete` as soon as
 * something that was written is gone, or somebody else writes: then all of it is to be written again.
 */
export interface DirectoryWriting {
  put(devices: readonly DirectoryDevice[]): Promise<void>;
  /** Proves that all of it is there, and marks it as whole, in one step; resolves with the generation. */
  finish(): Promise<string>;
}

/** Whole or absent: it never looks as if it lacked a device because a part of it was lost. */
export interface Directory {
  look(): Promise<DirectoryState>;
  /**
   * Begins to write all of it. `null`: another administration server is at it. `clear`: what is there is not
   * valid.
   */
  begin(options?: { clear?: boolean }): Promise<DirectoryWriting | null>;
  /**
   * An administration server looks after this generation. Devices are turned away for good only within
   * `ttlMs` of that: a gateway that is cut off together with a part of Redis knows nothing of those enrolled
   * since.
   */
  vouch(generation: string, ttlMs: number): Promise<void>;
  /**
   * Puts or replaces these. While nothing is there and nobody writes, nothing is done: whoever writes will
   * read them.
   */
  putDevices(devices: readonly DirectoryDevice[]): Promise<void>;
  removeDevices(ids: readonly string[]): Promise<void>;
  /**
   * In order; `null` for a device the directory does not have. Rejects with `DirectoryIncomplete` when it
   * cannot be known, and when one of them is missing or blocked and the directory is not whole, not vouched
   * for, or another installation's.
   */
  devices(ids: readonly string[]): Promise<(DirectoryDevice | null)[]>;
  /** The list becomes this one, in one step. */
  setGateways(gateways: readonly DirectoryGateway[]): Promise<void>;
  putGateways(gateways: readonly DirectoryGateway[]): Promise<void>;
  removeGateway(name: string): Promise<void>;
  /**
   * Rejects with `DirectoryIncomplete` while the list was not written, or is lost or another installation's.
   */
  gateways(): Promise<DirectoryGateway[]>;
  /** Calls `onChange` soon after gateways were put or removed; hints may be lost, so poll as well. */
  onGatewaysChange(onChange: () => void): Promise<() => Promise<void>>;
}

/** Nothing can be said about a device: the directory is not there, not whole, or not this installation's. */
export class DirectoryIncomplete extends Error {
  override readonly name = 'DirectoryIncomplete';
}

/* ---- the whole ---- */

export interface BusStatus {
  available: boolean;
  /** Since when `available` is what it is, milliseconds since the Unix epoch. */
  since: number;
  /** Why not, when not available. */
  reason?: string;
  /** What it is made of, each with the server it is connected to. Absent when it has no parts. */
  parts?: BusPart[];
  /** What works and should be changed all the same: settings of Redis with which data may go missing. */
  warnings?: string[];
}

export interface BusPart {
  /** `commands`: asks and writes; `subscription`: brings hints; `receipts`: waits for receipts. */
  name: 'commands' | 'subscription' | 'receipts';
  /** Host and port. */
  server: string;
  ok: boolean;
  /** Since when `ok` is what it is, milliseconds since the Unix epoch. */
  since: number;
  reason?: string;
}

/** What is counted since the bus was made. */
export interface BusCounts {
  /** Connections made anew, whatever had become of the former ones. */
  reconnects: number;
  /** Subscriptions given up for a new one because they brought nothing. */
  subscriptionsReplaced: number;
  /** Times that Redis went on with another history of its data: a restart, a failover. */
  historyChanges: number;
  /**
   * From publishing to oneself to receiving it, milliseconds; the last one measured, `null` before the first.
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
  readonly clock: BusClock;
  /**
   * Resolves once the bus works. Rejects with `BusUnavailable` when it does not come up within 10 s, or, with
   * `waiting`, never: that is told why whenever the reason changes, until the bus works or is stopped. What a
   * person must change (a wrong password) rejects either way.
   */
  start(options?: { waiting?: (reason: string) => void }): Promise<void>;
  /** Idempotent; consumers and hints end. */
  stop(): Promise<void>;
  status(): BusStatus;
  counts(): BusCounts;
}
