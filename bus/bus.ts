/**
 * Everything that passes between gateways and administration servers. One interface (`interface/`) has two
 * implementations: `memory-bus.ts` for everything in one process, `redis/` for everything else;
 * `test/bus/contract.ts` holds both to the same rules.
 *
 * Every method that talks to Redis rejects with `BusUnavailable` when it cannot; nothing is queued inside the
 * bus, so the caller always knows what failed and keeps it.
 */
import type { Directory } from './interface/directory.ts';
import type { Owner } from './interface/installation.ts';
import type { Joins } from './interface/joins.ts';
import type { Leases } from './interface/leases.ts';
import type { Outboxes } from './interface/outboxes.ts';
import type { Presence } from './interface/presence.ts';
import type { Receipts } from './interface/receipts.ts';
import type { BusClock } from './interface/shared-clock.ts';

export * from './interface/directory.ts';
export * from './interface/installation.ts';
export * from './interface/joins.ts';
export * from './interface/leases.ts';
export * from './interface/outboxes.ts';
export * from './interface/presence.ts';
export * from './interface/receipts.ts';
export * from './interface/shared-clock.ts';

export class BusUnavailable extends Error {
  override readonly name = 'BusUnavailable';
}

export interface BusStatus {
  available: boolean;
  /** When `available` last changed, milliseconds since the Unix epoch. */
  since: number;
  /** Why not, when not available. */
  reason?: string;
  /** Its parts, each with the server it is connected to. Absent when it has none. */
  parts?: BusPart[];
  /** Settings of Redis that work but may lose data and should be changed. */
  warnings?: string[];
  /** What was recently refused because no program of the installation wrote it, for people. */
  refused?: string[];
}

export interface BusPart {
  /** `commands`: reads and writes; `subscription`: receives hints; `receipts`: waits for receipts. */
  name: 'commands' | 'subscription' | 'receipts';
  /** Host and port. */
  server: string;
  ok: boolean;
  /** When `ok` last changed, milliseconds since the Unix epoch. */
  since: number;
  reason?: string;
}

/** Counters since the bus was created. */
export interface BusCounts {
  /** Connections that were reopened, for whatever reason. */
  reconnects: number;
  /** Subscriptions replaced because they delivered nothing. */
  subscriptionsReplaced: number;
  /** Times that Redis continued with another history of its data: a restart, a failover. */
  historyChanges: number;
  /** What was refused because no program of the installation wrote it, by kind. */
  refused: Readonly<Record<string, number>>;
  /**
   * Time from publishing a probe to receiving it, milliseconds; the last measured, `null` before the first.
   */
  probeRoundTripMs: number | null;
}

export interface Bus {
  readonly owner: Owner;
  readonly leases: Leases;
  readonly outboxes: Outboxes;
  readonly receipts: Receipts;
  readonly presence: Presence;
  readonly directory: Directory;
  readonly joins: Joins;
  readonly clock: BusClock;
  /**
   * Resolves once the bus works. Rejects with `BusUnavailable` when it does not come up within 10 s. With
   * `waiting` it keeps trying instead and calls `waiting` with the reason whenever that changes, until the
   * bus works or is stopped. Faults that a person must fix (a wrong password) reject either way.
   */
  start(options?: { waiting?: (reason: string) => void }): Promise<void>;
  /** Idempotent; consumers and hints end. */
  stop(): Promise<void>;
  status(): BusStatus;
  counts(): BusCounts;
}
