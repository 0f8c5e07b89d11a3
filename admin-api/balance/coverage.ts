import type { Store } from '../store/store.ts';
import { fleetOf, serves } from './fleet.ts';

const GROUPS_MAX = 100;

/** A group whose devices have no other gateway when one fails. */
export interface ThinGroup {
  groupId: string;
  /** Devices enrolled directly in this group. */
  devices: number;
  /** Usable gateways whose scope includes it: none or one. */
  gateways: string[];
}

export interface Coverage {
  /** Number of such groups. */
  total: number;
  /** The groups with the most devices, 100 at most. */
  groups: ThinGroup[];
}

/** Groups that have devices and fewer than two usable gateways. */
export async function coverageOf({
  store,
  leases,
}: {
  store: Store;
  leases: { list(): Parameters<typeof fleetOf>[1] };
}): Promise<Coverage> {
  const usable = fleetOf(await store.gateways.all(), leases.list()).filter((gateway) => gateway.usable);
  const thin: ThinGroup[] = [];
  for (const { groupId, groupPath, devices } of await store.devices.countByGroup()) {
    const gateways = usable.filter((gateway) => serves(gateway, groupPath)).map(({ name }) => name);
    if (gateways.length < 2) thin.push({ groupId, devices, gateways });
  }
  thin.sort((a, b) => b.devices - a.devices || (a.groupId < b.groupId ? -1 : 1));
  return { total: thin.length, groups: thin.slice(0, GROUPS_MAX) };
}
