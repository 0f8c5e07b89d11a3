/** Records for the store's tests, with everything filled in that a test does not care about. */
import { randomBytes } from 'node:crypto';
import type { Advance, NewCommand, SessionChange, Store } from '../../admin-api/store/store.ts';

/** The promise rejects, and `check` accepts why. */
export async function rejects(promise: Promise<unknown>, check: (error: Error) => void): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason as Error,
  );
  if (error === undefined) throw new Error('expected a rejection');
  check(error);
}

export const T0 = 1_000_000;

export async function addDevice(store: Store, id: string, groupId = 'all', createdAt = T0): Promise<void> {
  const publicKey = new Uint8Array(randomBytes(32));
  await store.devices.create({
    id,
    groupId,
    name: `Device ${id}`,
    platform: 'linux',
    software: 'agent 1.0',
    publicKey,
    createdAt,
  });
}

export async function addDevices(store: Store, prefix: string, count: number, groupId = 'all') {
  const ids = Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(4, '0')}`);
  await store.transaction(async (tx) => {
    for (const id of ids) await addDevice(tx, id, groupId);
  });
  return ids;
}

export function newCommand(id: string, change: Partial<NewCommand> = {}): NewCommand {
  return {
    id,
    type: 'sync',
    args: { full: true },
    target: { group: 'all' },
    offline: 'queue',
    collapseKey: null,
    issuedAt: T0,
    expiresAt: T0 + 60_000,
    timeoutMs: 30_000,
    createdBy: 'token-1',
    ...change,
  };
}

/** A command with all its rows. */
export async function addCommand(store: Store, id: string, change: Partial<NewCommand> = {}): Promise<void> {
  await store.commands.create(newCommand(id, change));
  while (!(await store.commands.expand(id, 1_000, T0)).done);
}

export function connect(device: string, session: number, incarnation = 'inc-1'): SessionChange {
  const connected = {
    incarnation,
    worker: 'gw1/0',
    gateway: 'gw1',
    address: '192.0.2.1',
    software: 'agent 1.1',
    caps: ['sync'],
  };
  return { device, session, connected, at: T0 + session };
}

export function disconnect(device: string, session: number): SessionChange {
  return { device, session, disconnected: { code: 1006, reason: 'lost' }, at: T0 + session };
}

export function sent(command: string, device: string, session = 1, incarnation = 'inc-1') {
  return { command, device, session, incarnation };
}

export function report(
  command: string,
  device: string,
  state: Advance['state'],
  change: Partial<Advance> = {},
): Advance {
  return {
    command,
    device,
    state,
    ackedAt: null,
    startedAt: null,
    finishedAt: null,
    finishBy: null,
    percent: null,
    note: null,
    reason: null,
    ...change,
  };
}
