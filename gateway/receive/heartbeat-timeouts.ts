/** Enforces the time limits of all connections with a single timer. */

import type { UnauthenticatedSockets } from '../../bus/unauthenticated-sockets.ts';
import { CLOSE } from '../../protocol/index.ts';
import { type GatewayConfig, heartbeatTimeoutMs } from '../config.ts';
import type { Connections } from '../sessions/connections.ts';
import type { Ticker } from '../ticker.ts';

/** Sessions are not checked at every tick: their limit is long, and there are many. */
const SESSION_TICKS = 4;

export interface HeartbeatTimeoutsParts {
  connections: Connections;
  unauthenticatedSockets: UnauthenticatedSockets;
  config: GatewayConfig;
  ticker: Ticker;
}

export class HeartbeatTimeouts {
  readonly #parts: HeartbeatTimeoutsParts;
  readonly #silenceTicks: number;

  constructor(parts: HeartbeatTimeoutsParts) {
    this.#parts = parts;
    this.#silenceTicks = parts.ticker.ticks(heartbeatTimeoutMs(parts.config));
  }

  tick(now: number): void {
    this.#parts.unauthenticatedSockets.sweep();
    if (now % SESSION_TICKS === 0) this.#closeSilentSessions(now);
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
