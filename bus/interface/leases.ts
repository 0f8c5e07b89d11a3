/** Leases: which workers are alive. */
import type { Edition } from '../../protocol/index.ts';
import type { GatewaySettings } from './directory.ts';

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
