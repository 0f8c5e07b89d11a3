/** Tunnels. */
import type { ExecutionState } from '../../../protocol/index.ts';
import type { Page, PageRequest, TimeSpan, Tunnel, TunnelState, TunnelTurn } from '../records.ts';

export interface NewTunnel
  extends Pick<
    Tunnel,
    'id' | 'deviceId' | 'host' | 'port' | 'reason' | 'createdBy' | 'createdAt' | 'expiresAt' | 'end'
  > {
  /** Absent for a tunnel that ends as it begins. */
  at: TunnelTurn | null;
}

/** The time span applies to `createdAt`. */
export interface TunnelFilter extends TimeSpan {
  device?: string;
  /** `live`: not ended. */
  state?: TunnelState | 'live';
  createdBy?: string;
}

/** A worker's report about a tunnel that it has or had. Byte counts are totals since the tunnel arrived. */
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
  /** State of the command that tells the device; `null` if it is not stored (yet). */
  command: { state: ExecutionState; reason: string | null } | null;
  /** Whether the token that opened it is revoked, expired or unknown. */
  tokenEnded: boolean;
  device: 'enrolled' | 'blocked' | 'deleted';
}

export interface Tunnels {
  /** Refused if this device or this operator already has the most live tunnels allowed. */
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
  /** Moves a live tunnel to another worker if it is still on that turn; no end has joined there yet. */
  move(id: string, fromTurn: number, to: TunnelTurn, at: number): Promise<Tunnel | null>;
  /**
   * Takes reports in the order in which they were made. A report of a worker that the tunnel has left only
   * counts its bytes. `opened` and `ended`: tunnels that newly are so. `arrived`: moved tunnels that have
   * both ends again, with the incarnation they left. `refused`: at most ten for each tunnel. A worker with a
   * new incarnation that still has its tunnels is recognised by its name: `workerOf` gives the name for an
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
  /** Ends those that are live; returns them. `onTurn`: only if the tunnel is on that turn. */
  end(
    tunnels: readonly { id: string; onTurn?: number; code: string; reason: string }[],
    at: number,
  ): Promise<Tunnel[]>;
  /** Deletes tunnels that ended before then; returns how many. */
  prune(endedBefore: number, limit: number): Promise<number>;
}
