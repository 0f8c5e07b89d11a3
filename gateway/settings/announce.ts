/** Sends sessions a new list of gateways, and finds those that this gateway no longer serves. */
import { setImmediate as turn } from 'node:timers/promises';
import type { GatewayList, Scope } from '../lists/gateway-list.ts';
import { updateFrame } from '../lists/list-frames.ts';
import type { Connections } from '../sessions/connections.ts';
import { type AdmittedConnection, isAdmitted } from '../sessions/session.ts';

/** Sessions updated before yielding to other work. */
const SLICE = 500;

/** Sends `update` (G-1) to every session whose list changed. Returns those out of scope, to be sent away. */
export async function announce(
  connections: Connections,
  gateways: GatewayList,
  changed: ReadonlySet<Scope>,
): Promise<AdmittedConnection[]> {
  const outOfScope: AdmittedConnection[] = [];
  let count = 0;
  for (const connection of [...connections.sessions.values()]) {
    if (++count % SLICE === 0) await turn();
    if (!isAdmitted(connection)) continue;
    const { scope, device } = connection.state;
    if (!gateways.serves(scope.groups)) outOfScope.push(connection);
    else if (changed.has(scope) && scope.gateways.length > 0) {
      connections.send(connection, updateFrame(gateways.ranked(scope, device)));
    }
  }
  return outOfScope;
}

/** Sends these frames to every session. */
export async function sendToAll(connections: Connections, frames: readonly Uint8Array[]): Promise<void> {
  let count = 0;
  for (const connection of [...connections.sessions.values()]) {
    if (++count % SLICE === 0) await turn();
    if (!isAdmitted(connection)) continue;
    for (const frame of frames) connections.send(connection, frame);
  }
}
