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
  /** A connection or an attempt at one ended. `retryInMs` is `null` when none follows by itself. */
  disconnected: {
    gateway: GatewayAddress;
    code: number;
    reason: string;
    /** `never`: the device was stopped, or belongs here no more. */
    advice: ReconnectAdvice | 'never';
    retryInMs: number | null;
  };
  /** An order was dropped unanswered (S-2): worth a person's attention where it is a bad signature. */
  'order-refused': { reason: RefusalReason | 'expired'; id?: string };
  membership: { state: MembershipState; groups: string[]; epoch: number; revision: number };
  /** The device belongs here no more: it does not dial again, after a restart neither (S-8). */
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
  /** Something that should not happen: the store cannot be written, a listener threw. */
  fault: Error;
}
