/** Receipts: reports of devices and workers. */
import type { Edition, MeasuredGateway, TunnelSide } from '../../protocol/index.ts';
import type { TunnelEvent } from './outboxes.ts';

/**
 * `at` is when the worker received it, by `BusClock.now`; `session` orders the sessions of one device. The
 * bus adds `from`, the gateway that brought it; absent if gateways add no MACs.
 */
export type Receipt = ReceiptContent & { from?: string };

type ReceiptContent =
  | {
      kind: 'connected';
      device: string;
      session: number;
      incarnation: string;
      worker: string;
      gateway: string;
      address: string;
      software: string;
      caps: string[];
      /** Edition of the membership that the device holds, or was sent right after `welcome` (S-7). */
      membership: Edition;
      /** Mark of the public key that it proved (key-mark.ts). */
      key?: number;
      /** The session this one took the device over from, when that was still held. */
      replaced?: number;
      /** The device's current name for itself. */
      name?: string;
      /** The device reports that another program with its key ended its last session. */
      displaced?: true;
      at: number;
    }
  | { kind: 'disconnected'; device: string; session: number; code: number; reason: string; at: number }
  | {
      /** What the device says of itself; as `result` (B-5). */
      kind: 'status';
      device: string;
      body: Uint8Array;
      mac: Uint8Array;
      worker: string;
      at: number;
    }
  /** Its latest measurements, which replace earlier ones (B-1). */
  | { kind: 'measured'; device: string; measured: MeasuredGateway[]; at: number }
  | { kind: 'ack'; device: string; command: string; at: number }
  | { kind: 'progress'; device: string; command: string; percent?: number; note?: string; at: number }
  | {
      kind: 'result';
      device: string;
      command: string;
      /** As the device wrote it, and its MAC: nobody but the ledger reads it. */
      body: Uint8Array;
      mac: Uint8Array;
      /** The worker that brought it. */
      worker: string;
      at: number;
    }
  /** The device asks for the key of a group. */
  | { kind: 'want'; device: string; group: string; epoch: number; number: number; at: number }
  /** The worker could not deliver `command` to these devices: they are not connected here, or do not read. */
  | { kind: 'undelivered'; command: string; devices: string[]; incarnation: string; at: number }
  /** The worker's outbox is gone; deliveries sent through it may not have arrived. */
  | { kind: 'outbox-lost'; incarnation: string; at: number }
  /**
   * A change of a tunnel. Bytes count all messages between the legs since the tunnel came to this worker:
   * `bytesUp` from the device, `bytesDown` from the operator. `streams`: open now, as reported by the device.
   */
  | {
      kind: 'tunnel';
      tunnel: string;
      device: string;
      event: TunnelEvent;
      side?: TunnelSide;
      reason?: string;
      /** Where the leg came from, with `joined`, `resumed` and `refused`. */
      address?: string;
      bytesUp: number;
      bytesDown: number;
      streams: number;
      incarnation: string;
      at: number;
    };

/** Receipts kept aside, and the longest one, bytes; of a longer one only the reason is kept. */
export const ASIDE_MAX = { receipts: 1_000, bytes: 64 * 1024 } as const;

export interface Receipts {
  /**
   * Appends a whole batch or nothing. `bytes` is its approximate size, for a bus that does not encode it.
   * `full`: administration servers are too far behind; nothing was appended.
   */
  append(batch: readonly Receipt[], bytes?: number): Promise<'appended' | 'full'>;
  /**
   * Hands batches to `apply` until the returned function is called; each batch goes to one consumer and is
   * dropped once `apply` resolves. Batches that a consumer left unfinished (it died, `apply` rejected) are
   * handed to any consumer after `redeliverAfterMs`, so `apply` must be idempotent.
   */
  consume(
    consumer: string,
    apply: (batch: readonly Receipt[]) => Promise<void>,
    options?: { maxBatch?: number; redeliverAfterMs?: number },
  ): Promise<() => Promise<void>>;
  /** Keeps the newest receipts that no consumer can apply, for a person to inspect. Nobody consumes them. */
  putAside(wrong: readonly { receipt: unknown; why: string }[]): Promise<void>;
  /** Batches appended and not yet dropped. */
  backlog(): Promise<number>;
  /** Age of the oldest of them, milliseconds; 0 when there is none. */
  oldestAgeMs(): Promise<number>;
  /**
   * Positions in the order of appending, comparable as text. `appended`: the newest batch ever appended;
   * `open`: the oldest not yet dropped, `null` for none. Everything up to `appended` is applied once `open`
   * is `null` or greater, provided `stream` is unchanged. A different `stream` means that the data was
   * emptied, and its receipts may never have been applied.
   */
  progress(): Promise<{ appended: string; open: string | null; stream: string }>;
}

/** Appended batches that may wait before `append` answers `full`. */
export const RECEIPTS_MAX_ENTRIES = 100_000;
/** Most bytes of all waiting batches together: devices choose how long a result is. */
export const RECEIPTS_MAX_BYTES = 256 * 1024 * 1024;
