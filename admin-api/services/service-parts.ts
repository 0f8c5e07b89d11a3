import type { Logger } from 'pino';
import type { Lease } from '../../bus/bus.ts';
import { encodeGatewayMessage, type SignedOrder } from '../../protocol/index.ts';
import { serves } from '../balance/fleet.ts';
import { namesOf, readFleet } from '../balance/placement.ts';
import { outOfScope } from '../balance/redirects.ts';
import type { DeviceSender } from '../best-effort-sender.ts';
import type { ToldAddress } from '../directory/gateway-addresses.ts';
import type { GroupList } from '../directory/gateway-lists.ts';
import type { MembershipSubject } from '../directory/projector.ts';
import { groupsOnPath } from '../group-path.ts';
import type { Revocations } from '../live-workers.ts';
import type { DeletedDevice, Store } from '../store/store.ts';

/** Copies changes in SQL to the bus's directory; repeats a write until it succeeds. */
export interface DirectoryChanges {
  /** Rejects with `BusUnavailable`, but still repeats the write by itself. */
  devicesChanged(ids: readonly string[]): Promise<void>;
  devicesChangedSoon(ids: readonly string[]): void;
  gatewaysChangedSoon(): void;
  weightOf(gateway: string): number | undefined;
  toldOf(gateway: string): ToldAddress | undefined;
  forgetFormerPorts(gateway: string): Promise<void>;
  listFor(groupPath: string): Promise<GroupList | null>;
  membershipFor(device: MembershipSubject): SignedOrder;
  membershipFrame(device: MembershipSubject): Uint8Array;
  deletionFrame(device: DeletedDevice): Uint8Array;
}

/**
 * What all services use. A service first changes SQL, together with the audit entry and the event, and then
 * informs the other parts.
 */
export interface ServiceParts {
  store: Store;
  directory: DirectoryChanges;
  sender: DeviceSender;
  /** The live workers. */
  leases: { list(): readonly Lease[] } & Revocations;
  /** Called after events were appended. */
  hub: { notify(): void };
  now: () => number;
  log: Logger;
}

/** Throws if the object differs from the one that the caller knows. */
export type Expected<T> = (record: T) => void;

/** Records one change: its audit entry, and its event if there is one. Call it inside the transaction. */
export async function recordChange(
  tx: Store,
  at: number,
  actor: string,
  action: string,
  subject: string,
  detail: Record<string, unknown>,
  event?: Record<string, unknown>,
): Promise<void> {
  await tx.audit.append({ at, actor, action, subject, detail });
  if (event) await tx.events.append([{ at, type: action, data: event }]);
}

/**
 * Waits for the directory to be written. If that fails it goes on, because the projector repeats the write.
 */
export async function writeDirectory(parts: ServiceParts, ids: readonly string[]): Promise<void> {
  try {
    await parts.directory.devicesChanged(ids);
  } catch (error) {
    parts.log.warn({ err: error, devices: ids.length }, 'directory not written yet; it will be repeated');
  }
}

/**
 * Writes new memberships to the directory and sends them to connected devices, with their new lists of
 * gateways. Sends a device whose gateway does not serve its new group to one that does. Returns how many were
 * sent away.
 */
export async function renewMemberships(parts: ServiceParts, ids: readonly string[]): Promise<number> {
  await writeDirectory(parts, ids);
  const devices = new Map((await parts.store.devices.withPaths(ids)).map((device) => [device.id, device]));
  const lists = await listsFor(parts, [...devices.values()]);
  const fleet = await readFleet(parts);
  let sentAway = 0;
  await parts.sender.deliver([...devices.keys()], (id, { incarnation, session }) => {
    const device = devices.get(id);
    if (!device) return [];
    const groups = groupsOnPath(device.groupPath);
    const membership = { devices: [id], frame: parts.directory.membershipFrame(device), groups };
    const list = lists.get(device.groupPath);
    const orders = [membership, ...(list ? [{ devices: [id], frame: list.frame }] : [])];
    const gateways = namesOf(fleet.ranked(id, device.groupPath));
    const gateway = fleet.gatewayOf(incarnation);
    if (gateway && !serves(gateway, device.groupPath)) {
      sentAway += 1;
      return [...orders, outOfScope([{ id, session }], gateways)];
    }
    const update = encodeGatewayMessage({ t: 'update', gateways });
    return gateways.length === 0 ? orders : [...orders, { devices: [id], frame: update }];
  });
  return sentAway;
}

/** By the path of the device's group. */
async function listsFor(
  { directory }: ServiceParts,
  devices: readonly { groupPath: string }[],
): Promise<Map<string, GroupList | null>> {
  const lists = new Map<string, GroupList | null>();
  for (const path of new Set(devices.map(({ groupPath }) => groupPath))) {
    lists.set(path, await directory.listFor(path));
  }
  return lists;
}
