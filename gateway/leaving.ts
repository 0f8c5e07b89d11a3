/** Sending devices away: all of them at a pace when the worker drains, some when the gateway serves another group. */
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
import { CLOSE, encodeGatewayMessage } from '../protocol/index.ts';
import type { Connections } from './connections.ts';
import { type GatewayList, redirectFrame, type Scope } from './gateway-list.ts';
import { type AdmittedConnection, isAdmitted } from './session.ts';

const STEP_MS = 50;
/** Share of the time until the deadline that the devices may take to leave; the rest is for what they said last. */
const SHARE_OF_DEADLINE = 0.6;
const SLICE = 1_000;

export interface DrainOptions {
  perSecond: number;
  /** Milliseconds since the Unix epoch; the pace is raised to be done well before it. */
  deadline: number;
  /** Asked at each step; true ends the drain early. */
  canceled(): boolean;
}

/** Closes every connection with `draining`, each session told where else to go. */
export async function drain(
  connections: Connections,
  gateways: GatewayList,
  options: DrainOptions,
): Promise<void> {
  for (const connection of [...connections.unauthenticated]) {
    connections.close(connection, CLOSE.draining, 'the gateway leaves');
  }
  const sessions = [...connections.sessions.values()];
  const timeMs = Math.max(1, (options.deadline - Date.now()) * SHARE_OF_DEADLINE);
  const perSecond = Math.max(options.perSecond, (sessions.length * 1_000) / timeMs);
  const perStep = Math.max(1, Math.ceil((perSecond * STEP_MS) / 1_000));
  const frames = new Map<Scope, Uint8Array>();
  for (let start = 0; start < sessions.length; start += perStep) {
    if (start > 0) await pause(STEP_MS);
    if (options.canceled()) return;
    for (const connection of sessions.slice(start, start + perStep)) {
      if (!isAdmitted(connection)) continue;
      const { scope } = connection.state;
      let frame = frames.get(scope);
      if (!frame) {
        frame = redirectFrame(gateways.others(scope), 'drain');
        frames.set(scope, frame);
      }
      sendAway(connections, connection, frame, CLOSE.draining, 'the gateway leaves');
    }
  }
}

/** Sends `update` (G-1) to every session whose list changed, and away whom this gateway does not serve any more. */
export async function announce(
  connections: Connections,
  gateways: GatewayList,
  changed: ReadonlySet<Scope>,
): Promise<void> {
  const updates = new Map<Scope, Uint8Array>();
  for (const scope of changed) {
    if (scope.gateways.length > 0) {
      updates.set(scope, encodeGatewayMessage({ t: 'update', gateways: scope.gateways }));
    }
  }
  let count = 0;
  for (const connection of [...connections.sessions.values()]) {
    if (++count % SLICE === 0) await turn();
    if (!isAdmitted(connection)) continue;
    const { scope } = connection.state;
    if (!gateways.serves(scope.groups)) {
      const frame = redirectFrame(gateways.others(scope), 'scope');
      sendAway(connections, connection, frame, CLOSE.outOfScope, 'H-10: this gateway serves another group');
    } else {
      const update = updates.get(scope);
      if (update) connections.send(connection, update);
    }
  }
}

function sendAway(
  connections: Connections,
  connection: AdmittedConnection,
  redirect: Uint8Array,
  code: number,
  reason: string,
): void {
  connection.socket.cork(() => {
    connections.send(connection, redirect);
    connections.close(connection, code, reason);
  });
}
