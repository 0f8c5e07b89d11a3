/** The parts of one gateway worker, by the names under which constructors take them. */
import type { Logger } from 'pino';
import type { Bus } from '../bus/bus.ts';
import type { Certificates } from '../bus/tls/certificates.ts';
import type { UnauthenticatedSockets } from '../bus/unauthenticated-sockets.ts';
import type { Dependency, Loops } from '../health/health.ts';
import type { Admission } from './admission/admission.ts';
import type { Canary } from './admission/canary.ts';
import type { Challenger } from './admission/challenger.ts';
import type { Dismissals } from './admission/dismissals.ts';
import type { Gatekeeper } from './admission/gatekeeper.ts';
import type { Interner } from './admission/interner.ts';
import type { SignatureCheck } from './admission/signature-check.ts';
import type { UnsignedEntries } from './admission/unsigned-entries.ts';
import type { GatewayConfig } from './config.ts';
import type { Draining } from './drain/draining.ts';
import type { LeaseKeeper } from './lease/keeper.ts';
import type { LeaseWork } from './lease/work.ts';
import type { Listener } from './listen/listener.ts';
import type { PushServer } from './listen/push-server.ts';
import type { UnauthenticatedLimit } from './listen/unauthenticated-limit.ts';
import type { CarriedKeys } from './lists/carried-keys.ts';
import type { CarriedLists } from './lists/carried-lists.ts';
import type { GatewayList } from './lists/gateway-list.ts';
import type { Metrics } from './metrics.ts';
import type { HeardReports } from './receipts/heard-reports.ts';
import type { ReceiptSpool } from './receipts/spool.ts';
import type { DeviceMessages } from './receive/device-messages.ts';
import type { HeartbeatTimeouts } from './receive/heartbeat-timeouts.ts';
import type { Connections } from './sessions/connections.ts';
import type { PendingSettled } from './sessions/pending-settled.ts';
import type { PresenceReleases } from './sessions/presence-releases.ts';
import type { RoundTrips } from './sessions/round-trips.ts';
import type { SettingsFollower } from './settings/follower.ts';
import type { SettingsWatcher } from './settings/watcher.ts';
import type { Ticker } from './ticker.ts';
import type { WorkerTunnels } from './tunnels/worker-tunnels.ts';
import type { WorkerStatus } from './worker-status.ts';

/** What a worker asks its supervisor. */
export interface Siblings {
  /**
   * Resolves when the port may be listened on; rejects with `PortUnavailable` when another program has it.
   */
  clearPort(port: number): Promise<void>;
  /** Something in the worker's `state()` changed. */
  changed(): void;
}

export interface Given {
  config: Readonly<GatewayConfig>;
  /** The caller starts it before the worker and stops it after the worker. */
  bus: Bus;
  log: Logger;
  /** Version of the program, for the lease. */
  version: string;
  /** The certificates of the process. */
  certificates: Certificates;
  /** The installation's fingerprint. `null`: the bus is in this process, and nobody else writes to it. */
  fingerprint: Uint8Array | null;
  /** For a worker that shares the port with siblings. */
  siblings: Siblings | null;
}

export interface Core extends Given {
  /** The worker's name, such as `gw1/0`. */
  worker: string;
  /** Of the gateway. */
  gateway: string;
  /** The clock that all programs share. */
  now: () => number;
  metrics: Metrics;
  ticker: Ticker;
  loops: Loops;
  interner: Interner;
  gateways: GatewayList;
  isSigned: SignatureCheck;
  carriedKeys: CarriedKeys;
  carriedLists: CarriedLists;
  unsignedEntries: UnsignedEntries;
  dismissals: Dismissals;
  leaseHealth: Dependency;
  directoryHealth: Dependency;
  canaryHealth: Dependency;
  /** Incarnation of the worker's last lease. */
  incarnation: () => string | null;
}

export interface SocketParts {
  unauthenticatedLimit: UnauthenticatedLimit;
  unauthenticatedSockets: UnauthenticatedSockets;
  server: PushServer;
  listener: Listener;
  gatekeeper: Gatekeeper;
}

export interface SessionParts {
  spool: ReceiptSpool;
  releases: PresenceReleases;
  pendingSettled: PendingSettled;
  connections: Connections;
  challenger: Challenger;
  admission: Admission;
  messages: DeviceMessages;
  roundTrips: RoundTrips;
  heartbeatTimeouts: HeartbeatTimeouts;
  tunnels: WorkerTunnels;
}

export interface LeaseParts {
  leaseWork: LeaseWork;
  keeper: LeaseKeeper;
  heard: HeardReports;
}

export interface SettingsParts {
  draining: Draining;
  follower: SettingsFollower;
  watcher: SettingsWatcher;
}

export interface WorkerParts extends Core, SocketParts, SessionParts, LeaseParts, SettingsParts {
  canary: Canary | null;
  status: WorkerStatus;
}
