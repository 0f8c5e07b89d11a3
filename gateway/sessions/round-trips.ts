/**
 * Measures the round trips of devices: WebSocket pings to a small rotating sample, and the time until the
 * pong. Only a pong that answers one of these pings counts, so a device cannot fake more than a delay.
 */

import type { Metrics } from '../metrics.ts';
import type { Connections } from './connections.ts';
import { type Percentiles, percentiles } from './percentiles.ts';
import { type AdmittedConnection, type Connection, isAdmitted } from './session.ts';

/** Four pings a second, sent together so that one timer suffices, and to no device twice within 5 s. */
const PERIOD_MS = 1_000;
const PINGS = 4;
const ROTATION_MS = 5_000;
/** A later pong does not count: the device may be gone. */
const PATIENCE_MS = 20_000;
const SAMPLES = 512;
const OUTSTANDING = 512;

export interface RoundTripsParts {
  connections: Connections;
  metrics: Metrics;
}

export class RoundTrips {
  readonly #parts: RoundTripsParts;
  /** The last measurements, milliseconds, in a ring. */
  readonly #samples = new Float64Array(SAMPLES);
  #measured = 0;
  /** Send times of unanswered pings, the oldest first. */
  readonly #sent = new Map<Connection, number>();
  #rotation: Iterator<AdmittedConnection> | null = null;
  #rotationAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: RoundTripsParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#pingSome(), PERIOD_MS);
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
    this.#sent.clear();
  }

  pong(connection: Connection, payload: Uint8Array): void {
    const sentAt = this.#sent.get(connection);
    if (sentAt === undefined || payload.length !== 8) return;
    const told = new DataView(payload.buffer, payload.byteOffset, 8).getFloat64(0);
    if (told !== sentAt) return;
    this.#sent.delete(connection);
    const ms = performance.now() - sentAt;
    this.#samples[this.#measured++ % SAMPLES] = ms;
    this.#parts.metrics.roundTrip(ms);
  }

  /** Milliseconds; `undefined` until something was measured. */
  percentiles(): Percentiles | undefined {
    return percentiles(this.#samples.subarray(0, Math.min(this.#measured, SAMPLES)));
  }

  #pingSome(): void {
    this.#forget(performance.now());
    for (let count = 0; count < PINGS; count++) {
      const connection = this.#next(performance.now());
      if (!connection) return;
      this.#ping(connection);
    }
  }

  #ping(connection: AdmittedConnection): void {
    if (!isAdmitted(connection) || this.#sent.has(connection)) return;
    // Behind waiting frames, it would measure the queue.
    if (connection.socket.getBufferedAmount() > 0) return;
    const now = performance.now();
    const payload = new Uint8Array(8);
    new DataView(payload.buffer).setFloat64(0, now);
    this.#sent.set(connection, now);
    connection.socket.ping(payload);
  }

  #forget(now: number): void {
    for (const [connection, sentAt] of this.#sent) {
      if (this.#sent.size < OUTSTANDING && now - sentAt < PATIENCE_MS && isAdmitted(connection)) return;
      this.#sent.delete(connection);
    }
  }

  #next(now: number): AdmittedConnection | undefined {
    const next = this.#rotation?.next();
    if (next && !next.done) return next.value;
    this.#rotation = null;
    if (now - this.#rotationAt < ROTATION_MS) return undefined;
    this.#rotationAt = now;
    this.#rotation = this.#parts.connections.sessions.values();
    const first = this.#rotation.next();
    return first.done ? undefined : first.value;
  }
}
