/**
 * Sends devices away at a limited pace: all of them when the worker stops, or when an operator drains the
 * gateway or switches it off; those of the old port after a change of port; those that this gateway no longer
 * serves. When the reason disappears, draining ends at once and the remaining devices stay.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { LeavingReason } from '../../bus/bus.ts';
import { CLOSE } from '../../protocol/index.ts';
import type { GatewayList } from '../lists/gateway-list.ts';
import { redirectFrame } from '../lists/list-frames.ts';
import type { Connections } from '../sessions/connections.ts';
import { type AdmittedConnection, type Connection, isAdmitted, isLoopback } from '../sessions/session.ts';

const STEP_MS = 50;
/** Share of the time until the deadline in which devices leave; the rest is for their last receipts. */
const SHARE_OF_DEADLINE = 0.6;

const WHY: Record<LeavingReason, string> = {
  stop: 'the gateway stops',
  drain: 'the gateway is drained',
  off: 'the push server was switched off',
  port: 'the push server port changed',
};

export interface DrainingParts {
  connections: Connections;
  gateways: GatewayList;
  /** Number of connections through matching ports. */
  server: { connectionsOn(counts: (port: number) => boolean): number };
  /** Whether devices on this port must connect to another. */
  mustLeavePort(port: number): boolean;
  perSecond: number;
  log: Logger;
}

export class Draining {
  readonly #parts: DrainingParts;
  #stopping = false;
  /** Sessions per second. */
  #pace: number;
  #outOfScope: AdmittedConnection[] = [];
  #running: Promise<void> | null = null;

  constructor(parts: DrainingParts) {
    this.#parts = parts;
    this.#pace = parts.perSecond;
  }

  /** Why devices have to leave; `null` when they may stay. */
  get why(): LeavingReason | null {
    const { own } = this.#parts.gateways;
    if (this.#stopping) return 'stop';
    if (own.draining) return 'drain';
    if (!own.runPushServer) return 'off';
    return this.#onMovedPorts > 0 ? 'port' : null;
  }

  get #onMovedPorts(): number {
    const { server, mustLeavePort } = this.#parts;
    return server.connectionsOn(mustLeavePort);
  }

  /** All devices must leave, and no device may connect. */
  get all(): boolean {
    const { why } = this;
    return why !== null && why !== 'port';
  }

  /** Connections that still have to leave. */
  get left(): number {
    const { why } = this;
    if (why === null) return 0;
    return why === 'port' ? this.#onMovedPorts : this.#parts.connections.count;
  }

  /** Call it after any change that may be a reason to leave. */
  begin(): void {
    this.#running ??= this.#run();
  }

  /** Sends these away as well, if they are still out of scope at their turn. */
  beginScope(connections: readonly AdmittedConnection[]): void {
    for (const connection of connections) this.#outOfScope.push(connection);
    this.begin();
  }

  /**
   * Sends all devices away well before `deadline` (milliseconds since the Unix epoch). Resolves when all have
   * left.
   */
  async stop(deadline: number): Promise<void> {
    const { connections, perSecond } = this.#parts;
    this.#stopping = true;
    const timeMs = Math.max(1, (deadline - Date.now()) * SHARE_OF_DEADLINE);
    this.#pace = Math.max(perSecond, (connections.devices * 1_000) / timeMs);
    await this.#running;
    this.begin();
    await this.#running;
  }

  async #run(): Promise<void> {
    let allowed = 1;
    let at = performance.now();
    let said: LeavingReason | null = null;
    // Not in the caller's turn: `#running` must be set before it is cleared.
    await Promise.resolve();
    while (this.left > 0 || this.#outOfScope.length > 0) {
      const { why } = this;
      if (why !== said) this.#parts.log.info({ why, left: this.left }, 'devices are sent away');
      said = why;
      const now = performance.now();
      allowed = Math.min(this.#pace, allowed + ((now - at) * this.#pace) / 1_000);
      at = now;
      const count = Math.floor(allowed);
      allowed -= count;
      this.#step(why, count);
      if (this.left === 0 && this.#outOfScope.length === 0) break;
      await pause(STEP_MS);
    }
    this.#running = null;
  }

  #step(why: LeavingReason | null, count: number): void {
    if (why === null) {
      for (const connection of this.#outOfScope.splice(0, count)) this.#leaveScope(connection);
      return;
    }
    const { connections } = this.#parts;
    if (this.all) {
      this.#outOfScope = [];
      // Of a former port, the handshake tells them where to go (H-10).
      for (const connection of [...connections.unauthenticated]) {
        if (this.#mustLeave(connection)) connections.close(connection, CLOSE.draining, WHY[why]);
      }
    }
    let left = count;
    for (const connection of connections.sessions.values()) {
      if (left === 0) return;
      if (!this.#mustLeave(connection)) continue;
      left--;
      this.#sendAway(connection, why);
    }
  }

  #mustLeave(connection: Connection): boolean {
    if (isLoopback(connection)) return false;
    return this.all || this.#parts.mustLeavePort(connection.port);
  }

  #sendAway(connection: AdmittedConnection, why: LeavingReason): void {
    const { connections, gateways } = this.#parts;
    const { scope, device } = connection.state;
    const to = why === 'port' ? gateways.ownFirst(scope, device) : gateways.elsewhere(scope, device);
    connections.cork(connection, () => {
      connections.send(connection, redirectFrame(to, 'drain'));
      connections.close(connection, CLOSE.draining, WHY[why]);
    });
  }

  #leaveScope(connection: Connection): void {
    const { connections, gateways } = this.#parts;
    if (!isAdmitted(connection) || gateways.serves(connection.state.scope.groups)) return;
    const { scope, device } = connection.state;
    connections.cork(connection, () => {
      connections.send(connection, redirectFrame(gateways.elsewhere(scope, device), 'scope'));
      connections.close(connection, CLOSE.outOfScope, 'H-10: this gateway serves another group');
    });
  }
}
