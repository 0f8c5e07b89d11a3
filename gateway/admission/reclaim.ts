/**
 * After a lost lease, claims every session again under the new lease. A session whose device has a newer one
 * is closed with `replaced`. A session that the directory would no longer admit is closed as in the
 * handshake: the order to close it may have been in the lost outbox.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Bus, type DirectoryDevice, DirectoryIncomplete } from '../../bus/bus.ts';
import { CLOSE, isNewer, NO_EDITION } from '../../protocol/index.ts';
import type { HeldLease } from '../held-lease.ts';
import type { CarriedLists } from '../lists/carried-lists.ts';
import type { GatewayList } from '../lists/gateway-list.ts';
import { redirectFrame } from '../lists/list-frames.ts';
import type { Metrics } from '../metrics.ts';
import type { ReceiptSpool } from '../receipts/spool.ts';
import type { Connections } from '../sessions/connections.ts';
import { type AdmittedConnection, isAdmitted, isLoopback, remoteAddress } from '../sessions/session.ts';
import { connectedReceipt } from './admission.ts';
import { dismissal } from './handshake.ts';

const BATCH = 500;
const RETRY_MS = 250;

export interface ReclaimParts {
  bus: Bus;
  gateway: string;
  worker: string;
  connections: Connections;
  gateways: GatewayList;
  carriedLists: CarriedLists;
  spool: ReceiptSpool;
  metrics: Metrics;
  /** Whether `lease` is still the worker's. */
  current(lease: HeldLease): boolean;
  /** Whether this incarnation is, or was, this process. */
  wasOurs(incarnation: string): boolean;
  log: Logger;
}

/** Resolves when all sessions are under `lease`, or when the worker no longer holds `lease`. */
export async function reclaim(parts: ReclaimParts, lease: HeldLease): Promise<void> {
  const { connections, log } = parts;
  const stale = [...connections.sessions.values()].filter(
    (connection) => connection.state.leaseNumber !== lease.number,
  );
  if (stale.length > 0) log.info({ sessions: stale.length }, 'claiming sessions again');
  for (let start = 0; start < stale.length; ) {
    if (!parts.current(lease)) return;
    const batch = stale.slice(start, start + BATCH).filter((connection) => isStale(connection, lease));
    try {
      await reclaimBatch(parts, lease, batch);
      start += BATCH;
    } catch (error) {
      log.debug({ err: error, sessions: batch.length }, 'sessions are not claimed yet');
      await pause(RETRY_MS);
    }
  }
}

function isStale(connection: AdmittedConnection, lease: HeldLease): boolean {
  return isAdmitted(connection) && connection.state.leaseNumber !== lease.number;
}

async function reclaimBatch(
  parts: ReclaimParts,
  lease: HeldLease,
  batch: AdmittedConnection[],
): Promise<void> {
  const wanted = await dismissUnwanted(parts, batch);
  if (wanted.length === 0) return;
  const held = wanted.map(({ state }) => ({ device: state.device, heldSession: state.session }));
  const sessions = await claimHeld(parts, lease, held);
  if (!parts.current(lease)) return;
  wanted.forEach((connection, index) => {
    const device = held[index]?.device;
    if (device !== undefined) takeOver(parts, lease, connection, device, sessions[index] ?? null);
  });
}

interface Held {
  device: string;
  heldSession: number;
}

/** The new session numbers, in order; `null` where another worker holds a newer session. */
async function claimHeld(parts: ReclaimParts, lease: HeldLease, held: Held[]): Promise<(number | null)[]> {
  const { presence } = parts.bus;
  const claims = await presence.claim(lease.incarnation, held);
  const sessions = claims.map((claim) => claim?.session ?? null);
  const denied = held.filter((_, index) => sessions[index] === null);
  if (denied.length === 0) return sessions;
  // An earlier claim by this worker whose answer was lost looks "newer" as well.
  const holders = await presence.locate(denied.map(({ device }) => device));
  const own = denied.flatMap(({ device }, index) => {
    const holder = holders[index];
    return holder && parts.wasOurs(holder.incarnation) ? [{ device, heldSession: holder.session }] : [];
  });
  if (own.length === 0) return sessions;
  const again = await presence.claim(lease.incarnation, own);
  const found = new Map(own.map(({ device }, index) => [device, again[index]?.session ?? null]));
  return sessions.map((session, index) => session ?? found.get(held[index]?.device ?? '') ?? null);
}

function takeOver(
  parts: ReclaimParts,
  lease: HeldLease,
  connection: AdmittedConnection,
  device: string,
  session: number | null,
): void {
  const { bus, connections, spool, gateway, worker, metrics } = parts;
  if (!isAdmitted(connection)) {
    // The session ended in the meantime and released only its old number.
    if (session !== null && !connections.sessions.has(device)) connections.release(device, session);
    return;
  }
  if (session === null) {
    connections.close(connection, CLOSE.replaced, 'H-9: a newer connection of this device');
    return;
  }
  const { state } = connection;
  state.session = session;
  state.leaseNumber = lease.number;
  if (isLoopback(connection)) return;
  metrics.reclaimed++;
  const address = remoteAddress(connection.socket);
  spool.add(connectedReceipt(state, lease.incarnation, worker, gateway, address, bus.clock.now()));
}

/** Closes the sessions that the directory would not admit; returns the others. */
async function dismissUnwanted(
  { bus, connections, gateways, carriedLists }: ReclaimParts,
  batch: AdmittedConnection[],
): Promise<AdmittedConnection[]> {
  let devices: (DirectoryDevice | null)[];
  try {
    devices = await bus.directory.devices(batch.map(({ state }) => state.device));
    await carriedLists.learn(
      devices.flatMap((device) => (device ? gateways.scope(device.groups).group : [])),
    );
  } catch (error) {
    // Nothing is known about any device, so no session is closed.
    if (error instanceof DirectoryIncomplete) return batch.filter(isAdmitted);
    throw error;
  }
  return batch.filter((connection, index) => {
    if (!isAdmitted(connection)) return false;
    const device = devices[index];
    if (!device) connections.close(connection, CLOSE.unknownDevice, 'H-3: no such device');
    else if (device.state !== 'active') {
      const { code, reason, order } = dismissal(device, connection.state.membership);
      if (order) connections.send(connection, order);
      connections.close(connection, code, reason);
    } else if (!gateways.serves(device.groups)) {
      const scope = gateways.scope(device.groups);
      const list = carriedLists.after(scope.group, NO_EDITION);
      connections.cork(connection, () => {
        if (isNewer(device.membershipEdition, connection.state.membership)) {
          connections.send(connection, device.membership);
        }
        if (list) connections.send(connection, list);
        connections.send(connection, redirectFrame(gateways.elsewhere(scope, device.id), 'scope'));
      });
      connections.close(connection, CLOSE.outOfScope, 'H-10: this gateway serves another group');
    } else connection.state.scope = gateways.scope(device.groups);
    return isAdmitted(connection);
  });
}
