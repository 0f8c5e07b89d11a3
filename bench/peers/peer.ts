import type { DialectName } from '../load/dialects.ts';

/** Something users would pick instead, run the way its documentation says, on one machine. */
export interface Peer {
  readonly name: string;
  /** Its processes and settings that matter, for the table. */
  readonly how: string;
  readonly dialect: DialectName;
  readonly dialectOptions?: Record<string, string>;
  /** Rejects with `PeerMissing` where it is not installed, and may or can not be. */
  start(plan: PeerPlan): Promise<RunningPeer>;
}

export interface PeerPlan {
  /** Connections that will come. */
  devices: number;
  /** Server processes, where it has a setting for that. */
  workers: number;
  /** Whether it may be installed where it is missing. */
  install: boolean;
}

export interface RunningPeer {
  /** As it tells it. */
  readonly version: string;
  /** Where it takes connections. */
  readonly ports: readonly number[];
  /** Of its main processes; their children are counted, too. */
  readonly pids: readonly number[];
  /** Subscribers as the server counts them, where it tells. */
  subscribers?(): Promise<number>;
  /** Connected already, as the program is that gives orders to a fleet. */
  publisher(): Promise<Publisher>;
  /** Idempotent. */
  stop(): Promise<void>;
}

export interface Publisher {
  /**
   * Gives the server the message for all. Resolves once it is handed over, which may be before anybody has
   * it.
   */
  publish(payload: string): Promise<void>;
  close(): void;
}

export class PeerMissing extends Error {
  override readonly name = 'PeerMissing';
}
