/** Outboxes: pending deliveries of a worker. */
import type { FinalState } from '../../protocol/index.ts';

/**
 * One outbox entry: a frame, encoded once, for all `devices` this worker holds. With `commandId` the worker
 * reports devices it could not hand the frame to as `undelivered`. With `close`, the sessions named are
 * closed after the frame (if any) is sent; `sessions[i]` belongs to `devices[i]` and 0 means whatever session
 * the device has. `settled` names a command whose results of these devices are stored; the worker tells each
 * device with its next heartbeat. `tunnel` and `tunnelEnd` are for the worker itself and come with no
 * devices.
 */
export interface Delivery {
  devices: string[];
  frame?: Uint8Array;
  commandId?: string;
  /** Where the devices belong from now on, root first. */
  groups?: string[];
  settled?: { id: string; state: FinalState };
  close?: { code: number; reason: string; sessions?: number[] };
  tunnel?: TunnelGrant;
  /** Ends the tunnel, joined or not; both legs get `reason`. */
  tunnelEnd?: { id: string; reason: string };
}

/**
 * Two legs may join here. A grant for a tunnel that the worker already has carries new tickets, so the tunnel
 * can continue after a leg was away for too long.
 */
export interface TunnelGrant {
  /** An identifier. */
  id: string;
  device: string;
  /** The device's target, for the log. */
  host: string;
  port: number;
  /** SHA-256 (32 bytes) of each side's ticket, the text as it travels. */
  deviceHash: Uint8Array;
  operatorHash: Uint8Array;
  /** The tickets expire, milliseconds since the Unix epoch. */
  joinBy: number;
  /** The tunnel ends after this long without a message, milliseconds. */
  idleMs: number;
  /** The tunnel ends this long after the grant, milliseconds. */
  lifeMs: number;
  /** The tunnel ends after this many bytes in both directions together, at this worker; 0: no limit. */
  maxBytes: number;
}

/**
 * `joined`: a side's ticket was valid. `left`: its leg is gone; it may resume. `resumed`: it did. `counters`:
 * figures of an active tunnel, every 10 s. `moving`: the legs know that the gateway is leaving. `refused`: a
 * leg that named this tunnel was rejected; `reason` is a `TunnelRefusal`. `ended`: over at this worker;
 * `reason` is a `TunnelEndReason`, or what `tunnelEnd` said.
 */
export const TUNNEL_EVENTS = ['joined', 'left', 'resumed', 'counters', 'moving', 'refused', 'ended'] as const;
export type TunnelEvent = (typeof TUNNEL_EVENTS)[number];

export interface OutboxEntry {
  offset: string;
  delivery: Delivery;
}

/**
 * A reader's position: entries with an offset above `offset` are unread. `epoch` changes when an outbox is
 * lost.
 */
export interface Position {
  epoch: string;
  offset: string;
}

export interface OutboxRead {
  position: Position;
  entries: OutboxEntry[];
  /** The outbox is not the one `position` was taken from: its contents are gone (Redis lost its data). */
  lost: boolean;
}

export interface Outboxes {
  /**
   * Appends and announces in one atomic step, in order. `gone`: that incarnation no longer has a lease;
   * nothing was appended. `full`: its reader is too far behind (more than `OUTBOX_MAX_ENTRIES`); nothing was
   * appended.
   */
  append(incarnation: string, deliveries: readonly Delivery[]): Promise<'appended' | 'gone' | 'full'>;
  /** Reads up to `limit` entries above `position`; `null` reads from the start. */
  read(incarnation: string, position: Position | null, limit: number): Promise<OutboxRead>;
  /** Drops entries up to and including `position.offset`. */
  trim(incarnation: string, position: Position): Promise<void>;
  /**
   * Calls `onHint` soon after an append, and whenever a hint may have been missed (the subscription was
   * renewed). A hint may be lost or arrive twice: the outbox is the truth. Returns a function that stops it.
   */
  onHint(incarnation: string, onHint: () => void): Promise<() => Promise<void>>;
}

/** Entries an outbox may hold, unread or not trimmed yet, before `append` answers `full`. */
export const OUTBOX_MAX_ENTRIES = 40_000;
