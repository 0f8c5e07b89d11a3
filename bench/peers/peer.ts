import type { DialectName } from '../load/dialects.ts';

/** A server that users might choose instead, run as its documentation says, on one machine. */
export interface Peer {
  readonly name: string;
  /** Its processes and settings that matter, for the table. */
  readonly how: string;
  readonly dialect: DialectName;
  readonly dialectOptions?: Record<string, string>;
  /** Rejects with `PeerMissing` if it is not installed and cannot or must not be. */
  start(plan: PeerPlan): Promise<RunningPeer>;
}

export interface PeerPlan {
  /** Number of connections to expect. */
  devices: number;
  /** Server processes, where it has a setting for that. */
  workers: number;
  /** Whether to install it if it is missing. */
  install: boolean;
}

export interface RunningPeer {
  /** As the server reports it. */
  readonly version: string;
  /** Where it takes connections. */
  readonly ports: readonly number[];
  /** Process ids of its main processes; their children count as well. */
  readonly pids: readonly number[];
  /** The server's own count of subscribers, if it reports one. */
  subscribers?(): Promise<number>;
  /** A connected publisher, like a program that sends commands to a fleet. */
  publisher(): Promise<Publisher>;
  /** Idempotent. */
  stop(): Promise<void>;
}

export interface Publisher {
  /**
   * Gives the server the message for all. Resolves once it is handed over, maybe before any client has it.
   */
  publish(payload: string): Promise<void>;
  close(): void;
}

export class PeerMissing extends Error {
  override readonly name = 'PeerMissing';
}
