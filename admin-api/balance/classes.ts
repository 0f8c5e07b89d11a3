import type { FleetGateway } from './fleet.ts';
import { serves } from './fleet.ts';
import type { BalanceClass } from './plan.ts';

/** Devices of one group on one gateway. */
export interface Placed {
  groupId: string;
  groupPath: string;
  gateway: string;
  devices: number;
}

export interface DeviceClass extends BalanceClass {
  devices: Map<string, number>;
  /** The groups of the class that have devices on each gateway, with their paths. */
  groups: Map<string, Map<string, string>>;
}

/**
 * Joins groups whose devices have the same usable gateways to choose from. Devices on other gateways (drained, out of
 * scope) are in no class: they are sent away anyway.
 */
export function classesOf(placed: readonly Placed[], gateways: readonly FleetGateway[]): DeviceClass[] {
  const usable = gateways.filter((gateway) => gateway.usable);
  const choices = new Map<string, { names: string[]; key: string }>();
  const classes = new Map<string, DeviceClass>();
  for (const { groupId, groupPath, gateway, devices } of placed) {
    let choice = choices.get(groupId);
    if (!choice) {
      const names = usable.filter((each) => serves(each, groupPath)).map(({ name }) => name);
      names.sort();
      choice = { names, key: names.join(' ') };
      choices.set(groupId, choice);
    }
    const { names, key } = choice;
    if (!names.includes(gateway)) continue;
    const known = classes.get(key);
    const made: DeviceClass = known ?? {
      key,
      devices: new Map(names.map((name) => [name, 0])),
      groups: new Map(names.map((name) => [name, new Map()])),
    };
    classes.set(key, made);
    made.devices.set(gateway, (made.devices.get(gateway) ?? 0) + devices);
    if (devices > 0) made.groups.get(gateway)?.set(groupId, groupPath);
  }
  return [...classes.values()];
}
