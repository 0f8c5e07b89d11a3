/** Messages between a swarm and its processes. */

import type { Phase } from './connection.ts';
import type { DialectName } from './dialects.ts';

export interface SwarmProcessStart {
  dialect: DialectName;
  options: Readonly<Record<string, string>>;
  targets: readonly { host: string; port: number }[];
  /** Each device dials the target of its number. */
  spread: boolean;
  /** Devices of this process: numbers `from` to `to`, exclusive. */
  from: number;
  to: number;
}

export type SwarmRequest =
  | { op: 'prepare' }
  /**
   * Dials this share of the devices, where they are not connected, at most `atOnce` of them between connect
   * and ready.
   */
  | { op: 'open'; atOnce: number; share: number }
  /** Whether lost connections are dialed again. */
  | { op: 'returning'; on: boolean }
  /** Which target the devices dial the next time. */
  | { op: 'target'; index: number }
  /** Every n-th device stops reading, or all read again (0). */
  | { op: 'stall'; every: number }
  /** The devices whose number leaves `rest` when divided by `every` lose their connection. */
  | { op: 'cut'; every: number; rest: number }
  /** Commands take the devices this many milliseconds. */
  | { op: 'work'; ms: number }
  | { op: 'state' }
  | { op: 'count'; kind: string; key: string }
  | { op: 'take'; kind: string }
  | { op: 'close'; how: 'close' | 'reset' };

export interface SwarmState {
  phases: Partial<Record<Phase, number>>;
  /**
   * Connections that became ready, closings by code (`closed 1006`), refusals by status, and the dialect's
   * own.
   */
  counters: Record<string, number>;
}

export interface SwarmAnswers {
  prepare: Uint8Array[];
  open: null;
  returning: null;
  target: null;
  stall: number;
  cut: null;
  work: null;
  state: SwarmState;
  count: number;
  take: Map<string, Float64Array>;
  close: null;
}
