/** Sends sessions news of gateways, and finds those that this gateway no longer serves. */
import { setImmediate as turn } from 'node:timers/promises';
import { NO_EDITION } from '../../protocol/index.ts';
import type { CarriedLists } from '../lists/carried-lists.ts';
import type { GatewayList, Scope } from '../lists/gateway-list.ts';
import { updateFrame } from '../lists/list-frames.ts';
import type { Connections } from '../sessions/connections.ts';
import { type AdmittedConnection, isAdmitted } from '../sessions/session.ts';

/** Sessions updated before yielding to other work. */
const SLICE = 500;

export interface GatewayNews {
  /** Where other names are to be used, or in another order. */
  scopes: ReadonlySet<Scope>;
  /** Groups that have a newer signed list. */
  lists: ReadonlySet<string>;
}

/**
 * Sends every session the newer list of its group (G-18), and `update` where names changed (G-1). Returns
 * those out of scope, to be sent away.
 */
export async function announce(
  { connections, gateways, carriedLists }: Announcing,
  { scopes, lists }: GatewayNews,
): Promise<AdmittedConnection[]> {
  const outOfScope: AdmittedConnection[] = [];
  let count = 0;
  for (const connection of [...connections.sessions.values()]) {
    if (++count % SLICE === 0) await turn();
    if (!isAdmitted(connection)) continue;
    const { scope, device } = connection.state;
    const list = lists.has(scope.group) ? carriedLists.after(scope.group, NO_EDITION) : null;
    if (list) connections.send(connection, list);
    // A session that could not receive it has ended.
    if (!isAdmitted(connection)) continue;
    if (!gateways.serves(scope.groups)) outOfScope.push(connection);
    else if (scopes.has(scope) && scope.gateways.length > 0) {
      connections.send(connection, updateFrame(gateways.ranked(scope, device)));
    }
  }
  return outOfScope;
}

interface Announcing {
  connections: Connections;
  gateways: GatewayList;
  carriedLists: CarriedLists;
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
