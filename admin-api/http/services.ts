import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { BusStatus, DirectoryState, Installation } from '../../bus/bus.ts';
import type { CommandType } from '../../protocol/command-types.ts';
import type { Coverage } from '../balance/coverage.ts';
import type { Placement } from '../balance/explain-placement.ts';
import type { Health } from '../health/health.ts';
import type { StoreWatch } from '../health/store-watch.ts';
import type { AuthorityService } from '../services/authority-service.ts';
import type { DeviceService } from '../services/device-service.ts';
import type { EnrolmentService } from '../services/enrolment-service.ts';
import type { GatewayService } from '../services/gateway-service.ts';
import type { GroupService } from '../services/group-service.ts';
import type { JoinService } from '../services/join-service.ts';
import type { KeyRotationService } from '../services/key-rotation-service.ts';
import type { KeysService } from '../services/keys-service.ts';
import type { LocateService } from '../services/locate-service.ts';
import type { SecretResults } from '../services/secret-results.ts';
import type { TokenService } from '../services/token-service.ts';
import type { TunnelService } from '../services/tunnel-service.ts';
import type { Command, LedgerEvent, StateCounts } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** `ttl` and `timeout` in seconds, `expiresAt` as RFC 3339. */
export interface CommandRequest {
  type: CommandType;
  args?: unknown;
  target: { devices: string[] } | { group: string } | { all: true };
  ttl?: number;
  expiresAt?: string;
  timeout?: number;
  collapseKey?: string | null;
  offline?: 'queue' | 'skip';
  secret?: boolean;
  idempotencyKey?: string;
}

/** Both throw `Problem`. */
export interface CommandOrders {
  create(
    request: CommandRequest,
    actor: string,
  ): Promise<{ command: Command; counts: StateCounts; existing: boolean }>;
  cancel(id: string, options: { force: boolean }, actor: string): Promise<Command>;
}

/**
 * Ledger events numbered above `afterSeq`, in order, without gaps or repeats, until the returned function is
 * called.
 */
export interface EventSource {
  subscribe(afterSeq: number, onEvents: (events: LedgerEvent[]) => void): () => void;
}

/** The part of the bus that status and readiness use. */
export interface BusHealth {
  status(): BusStatus;
  readonly receipts: { backlog(): Promise<number> };
}

/** The directory at the last check, and its installation. */
export interface DirectoryHealth {
  readonly state: DirectoryState;
  readonly installation: Installation;
}

/** What the HTTP API exposes. */
export interface HttpServices {
  store: Store;
  bus: BusHealth;
  directory: DirectoryHealth;
  /** Refuses requests that need the store while it is away. */
  storeWatch: StoreWatch;
  health: Health;
  commands: CommandOrders;
  secretResults: SecretResults;
  /** Why an execution is in its state; throws `Problem`. */
  explain(
    deviceId: string,
    commandId: string,
  ): Promise<{ sentence: string; code: string; data: Record<string, unknown> }>;
  /** Why a device is connected where it is; throws `Problem`. */
  placement(deviceId: string): Promise<Placement>;
  coverage(): Promise<Coverage>;
  groups: GroupService;
  devices: DeviceService;
  enrolment: EnrolmentService;
  locate: LocateService;
  gateways: GatewayService;
  joins: JoinService;
  authorities: AuthorityService;
  tunnels: TunnelService;
  tokens: TokenService;
  keys: KeysService;
  keyRotation: KeyRotationService;
  events: EventSource;
  registry: Registry;
  now: () => number;
  log: Logger;
}

export interface HttpOptions {
  version: string;
  /** Compile the schemas of all routes at once; each at its first request when absent. */
  compileAtOnce?: boolean;
  /** Files in PEM form; plain HTTP when absent. */
  tls?: { certFile: string; keyFile: string };
  /** Addresses of reverse proxies whose `X-Forwarded-For` is trusted; none when absent. */
  trustProxy?: string[];
  /** Path below which a proxy serves the API, such as `/pushpoint`; the root when absent. */
  basePath?: string;
  /** Origins whose pages may be devices, or `*`; none when absent. */
  allowedOrigins?: string[];
  /** Longest body, bytes; 1 MiB when absent. */
  bodyLimitBytes?: number;
  /** How long a looked-up token counts without asking the store, milliseconds; 2,000 when absent. */
  tokenCacheMs?: number;
  /** Event streams at the same time; 200 when absent. */
  maxEventStreams?: number;
  /** Bytes that may wait for a slow reader of an event stream before it is ended; 1 MiB when absent. */
  eventBufferBytes?: number;
  /** Interval of signs of life on an event stream, milliseconds; 10,000 when absent. */
  eventPingMs?: number;
  /** Connections without a token at the same time; 1,000, or a quarter of the open files, when absent. */
  maxUnauthenticated?: number;
  /** Failed enrolments one address may make in a minute; 30 when absent. */
  failedEnrolmentsPerMinute?: number;
  /** How long stopping waits for requests under way, milliseconds; 5,000 when absent. */
  closeDeadlineMs?: number;
}
