/**
 * Enforces the time limits of all connections with a single timer, also those of what waits for a heartbeat.
 */

import type { UnauthenticatedSockets } from '../../bus/unauthenticated-sockets.ts';
import { CLOSE } from '../../protocol/index.ts';
import { type GatewayConfig, heartbeatTimeoutMs } from '../config.ts';
import type { Connections } from '../sessions/connections.ts';
import type { PendingSettled } from '../sessions/pending-settled.ts';
import type { Ticker } from '../ticker.ts';

/** Sessions are not checked at every tick: their limit is long, and there are many. */
const SESSION_TICKS = 4;
/** Devices that are told in one tick of results stored a minute ago: about 15 ms of sending. */
const SETTLED_PER_TICK = 2_000;

export interface HeartbeatTimeoutsParts {
  connections: Connections;
  pendingSettled: PendingSettled;
  unauthenticatedSockets: UnauthenticatedSockets;
  config: GatewayConfig;
  ticker: Ticker;
}

export class HeartbeatTimeouts {
  readonly #parts: HeartbeatTimeoutsParts;
  readonly #silenceTicks: number;
  readonly #settledTicks: number;

  constructor(parts: HeartbeatTimeoutsParts) {
    this.#parts = parts;
    this.#silenceTicks = parts.ticker.ticks(heartbeatTimeoutMs(parts.config));
    this.#settledTicks = parts.ticker.ticks(parts.config.settledAloneMs);
  }

  tick(now: number): void {
    this.#parts.unauthenticatedSockets.sweep();
    if (now % SESSION_TICKS === 0) this.#closeSilentSessions(now);
    this.#sendSettledAlone(now);
  }

  /** their heartbeats are far apart. */
  #sendSettledAlone(now: number): void {
    const { connections, pendingSettled } = this.#parts;
    for (const connection of pendingSettled.olderThan(now - this.#settledTicks, SETTLED_PER_TICK)) {
      const settled = pendingSettled.take(connection);
      if (settled) connections.sendSettled(connection, settled);
    }
  }

  /** B-4 */
  #closeSilentSessions(now: number): void {
    const { connections } = this.#parts;
    for (const connection of connections.sessions.values()) {
      if (now - connection.heardTick > this.#silenceTicks) {
        connections.close(connection, CLOSE.heartbeatTimeout, 'B-4: nothing heard');
      }
    }
  }
}
