/** Composes the tunnels of a worker: admission, reception, relay, and the relay to siblings. */
import type { Logger } from 'pino';
import type { UnauthenticatedSocket, UnauthenticatedSockets } from '../../bus/unauthenticated-sockets.ts';
import { type GatewayConfig, shareOf } from '../config.ts';
import type { Metrics } from '../metrics.ts';
import type { ReceiptSpool } from '../receipts/spool.ts';
import type { Refusal } from '../refusal.ts';
import type { DeviceSocket } from '../sessions/session.ts';
import { Reception, type SocketLeg } from './reception.ts';
import { SiblingRelay } from './sibling-relay.ts';
import { TunnelRelay } from './tunnel-relay.ts';

export interface WorkerTunnelsParts {
  config: Readonly<GatewayConfig>;
  spool: ReceiptSpool;
  metrics: Metrics;
  unauthenticatedSockets: UnauthenticatedSockets;
  incarnation(): string | null;
  leaving(): boolean;
  /** The clock that all programs share. */
  now: () => number;
  log: Logger;
}

/** Share of the time until the worker must have stopped in which tunnels may move. */
const SHARE_OF_DEADLINE = 0.5;

export class WorkerTunnels {
  readonly relay: TunnelRelay;
  readonly #parts: WorkerTunnelsParts;
  readonly #reception: Reception;
  readonly #siblingRelay: SiblingRelay | null;
  /** Legs reach this worker through any of its siblings. */
  #reachable: boolean;

  constructor(parts: WorkerTunnelsParts) {
    this.#parts = parts;
    const { config, spool, metrics, incarnation, leaving, now, log } = parts;
    this.relay = new TunnelRelay({
      spool,
      metrics,
      log,
      incarnation,
      leaving,
      now,
      limit: shareOf(config.maxTunnels, config),
      bufferBytes: config.tunnelBufferBytes,
      pingMs: config.tunnelPingMs,
      holdMs: config.tunnelHoldMs,
      countersMs: config.tunnelCountersMs,
      lookMs: Math.max(10, Math.min(1_000, config.tunnelPingMs / 4, config.tunnelHoldMs / 4)),
    });
    const { siblingDir: dir, workerNumber } = config;
    this.#siblingRelay =
      dir === null ? null : new SiblingRelay({ dir, workerNumber, relay: this.relay, log });
    this.#reachable = config.workers === 1 || dir !== null;
    this.#reception = new Reception({
      workerNumber,
      relay: this.relay,
      siblingRelay: this.#siblingRelay,
      unauthenticatedSockets: parts.unauthenticatedSockets,
      slow: () => metrics.tunnelEvents.add('slow-leg'),
    });
  }

  /** For the lease; `undefined` when tunnels are disabled. */
  get load(): { open: number; limit: number } | undefined {
    const { size, limit } = this.relay;
    return limit === 0 || !this.#reachable ? undefined : { open: size, limit };
  }

  /** Decides about a leg before its upgrade. */
  refusal(): Refusal | null {
    if (!this.#parts.leaving() || this.relay.size > 0) return null;
    return { reason: 'the gateway leaves', retryAfterSeconds: 1 };
  }

  open(socket: DeviceSocket, unauthenticated: UnauthenticatedSocket): SocketLeg {
    return this.#reception.open(socket, unauthenticated);
  }

  /** Where the relay to siblings cannot be opened, the worker serves without tunnels. */
  async start(): Promise<void> {
    try {
      await this.#siblingRelay?.start();
    } catch (error) {
      this.#reachable = false;
      this.#parts.log.error({ err: error }, 'tunnels are disabled: siblings cannot forward legs');
    }
    this.relay.start();
  }

  /** Moves or ends all tunnels well before `deadline` (milliseconds since the Unix epoch). */
  async leave(deadline: number): Promise<void> {
    const now = Date.now();
    await this.relay.leave(now + (deadline - now) * SHARE_OF_DEADLINE);
    await this.#siblingRelay?.stop();
  }
}
