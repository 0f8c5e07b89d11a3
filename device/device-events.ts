import type {
  GatewayAddress,
  MembershipState,
  OtherInstallation,
  ReconnectAdvice,
} from '../protocol/index.ts';
import type { RefusalReason } from './executions/orders.ts';
import type { Outcome } from './storage/store.ts';
import type { TunnelNews } from './tunnels/tunnels.ts';

export interface SessionInfo {
  gateway: GatewayAddress;
  session: number;
  /** When it was opened, by the device's own clock, milliseconds since the epoch. */
  since: number;
}

export interface DeviceEvents {
  connected: SessionInfo;
  /** A connection, or an attempt to connect, ended. `retryInMs` is `null` if no other follows by itself. */
  disconnected: {
    gateway: GatewayAddress;
    code: number;
    reason: string;
    /** `never`: the device was stopped, or no longer belongs here. */
    advice: ReconnectAdvice | 'never';
    retryInMs: number | null;
  };
  /** An order was dropped without an answer (S-2): a person should look if its signature was bad. */
  'order-refused': { reason: RefusalReason | 'expired'; id?: string };
  membership: { state: MembershipState; groups: string[]; epoch: number; revision: number };
  /** The device no longer belongs here: it does not dial again, not even after a restart (S-8). */
  left: { state: 'deleted' | 'moved'; to?: OtherInstallation };
  gateways: readonly GatewayAddress[];
  'execution-started': { id: string; type: string };
  'execution-finished': { id: string; type: string } & Outcome;
  'execution-settled': { id: string; state: string };
  'tunnel-opened': TunnelNews;
  /** For a `reason`. */
  'tunnel-ended': TunnelNews;
  /** A stream of a tunnel asked for what the device does not allow. */
  'stream-refused': TunnelNews;
  /** An unexpected fault: the store cannot be written, or a listener threw. */
  fault: Error;
}
