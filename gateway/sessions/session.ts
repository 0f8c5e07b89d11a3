/**
 * A connection and its state. A session is an authenticated connection: the `admitted` state. There may be
 * hundreds of thousands, so a connection is one small object, times are ticks of the worker's coarse clock,
 * and strings that many devices share are shared (`interner.ts`).
 *
 * V8 heap bytes of one device, by a heap snapshot (Node 20, x64): the socket's wrapper 32 and its property 24
 * to 40, the connection 112, the session 104, two numbers that are no small integers (`openedAt`, `budget`)
 * 32, the device id 40, its place in the map of sessions about 40. Scope, software and capabilities are
 * shared.
 */

import { originOf } from '../../bus/addresses.ts';
import type { UnauthenticatedSocket } from '../../bus/unauthenticated-sockets.ts';
import type { Edition } from '../../protocol/index.ts';
import type { Scope } from '../lists/gateway-list.ts';

/** The gateway's view of a socket; push-server.ts provides it. No call is allowed after `end` or `close`. */
export interface DeviceSocket {
  /** 1: sent, 0: waits in a buffer, 2: dropped. */
  send(frame: Uint8Array, isBinary: boolean): number;
  end(code: number, reason: string): void;
  close(): void;
  cork(run: () => void): unknown;
  ping(payload: Uint8Array): number;
  getBufferedAmount(): number;
  getRemoteAddress(): ArrayBuffer;
}

/** The challenge is sent, no valid `prove` has arrived yet. */
export interface Proving {
  readonly name: 'proving';
  readonly nonce: Uint8Array;
}

/** `prove` has arrived and is being checked. */
export interface Admitting {
  readonly name: 'admitting';
}

/** Welcomed. */
export interface Session {
  readonly name: 'admitted';
  readonly device: string;
  /**
   * Orders the sessions of one device; renewed when the worker loses its lease and claims the device again.
   */
  session: number;
  /** The worker's lease under which the session is claimed. */
  leaseNumber: number;
  scope: Scope;
  readonly software: string;
  readonly caps: string[];
  readonly membership: Edition;
  /** Mark of the public key that it proved. */
  readonly key: number;
  /** Tick up to which the progress budget is spent (handlers/progress.ts). */
  progressTick: number;
}

export interface Ended {
  readonly name: 'ended';
}

export type ConnectionState = Proving | Admitting | Session | Ended;

export interface Connection {
  /** Unique in this process; logs show it with the worker's own prefix. */
  readonly id: number;
  readonly socket: DeviceSocket;
  /** Local port of the connection; 0 for the worker's own canary, which has none. */
  readonly port: number;
  state: ConnectionState;
  /** Milliseconds since the Unix epoch. */
  readonly openedAt: number;
  /** Its entry among the unauthenticated sockets; `null` once it is welcomed, and for the canary. */
  unauthenticated: UnauthenticatedSocket | null;
  /** Tick in which the device last sent a frame. */
  heardTick: number;
  /** Frames the device may still send; refilled over time. */
  budget: number;
  /** Bytes it may still send; negative after an overrun. A small integer. */
  bytes: number;
  framesIn: number;
  framesOut: number;
  bytesOut: number;
}

/** A connection in its `admitted` state. */
export type AdmittedConnection = Connection & { state: Session };

export const ADMITTING: Admitting = Object.freeze({ name: 'admitting' });
export const ENDED: Ended = Object.freeze({ name: 'ended' });

/** The worker's own canary: not counted among the devices. */
export function isLoopback(connection: Connection): boolean {
  return connection.port === 0;
}

export function isAdmitted(connection: Connection): connection is AdmittedConnection {
  return connection.state.name === 'admitted';
}

export function remoteAddress(socket: Pick<DeviceSocket, 'getRemoteAddress'>): string {
  return originOf(new Uint8Array(socket.getRemoteAddress())).address;
}
