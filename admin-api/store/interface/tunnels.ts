/** Tunnels. */
import type { ExecutionState } from '../../../protocol/index.ts';
import type { Page, PageRequest, TimeSpan, Tunnel, TunnelState, TunnelTurn } from '../records.ts';

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
