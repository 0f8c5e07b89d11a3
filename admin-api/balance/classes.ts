import type { FleetGateway } from './fleet.ts';
import { serves } from './fleet.ts';
import { bandsOfText } from './nearness.ts';
import type { BalanceClass } from './plan.ts';

/** Devices of one group on one gateway whose measurements agree (`nearness.ts`). */
export interface Placed {
  groupId: string;
  groupPath: string;
  gateway: string;
  near: string;
  devices: number;
}

/** Devices that are looked up together. */
export type Slice = Pick<Placed, 'groupId' | 'groupPath' | 'near'>;

export interface DeviceClass extends BalanceClass {
  devices: Map<string, number>;
  /** Devices of the class by gateway. */
  slices: Map<string, Slice[]>;
}

/**
 * Groups devices that may be moved between the same usable gateways. A device that measured gateways may be
 * moved only within its tie band, and not at all while it is outside of it. Devices on other gateways
 * (drained, out of scope) belong to no class: they are sent away anyway.
 */
export function classesOf(placed: readonly Placed[], gateways: readonly FleetGateway[]): DeviceClass[] {
  const usable = gateways.filter((gateway) => gateway.usable);
  const scopes = new Map<string, string[]>();
  const classes = new Map<string, DeviceClass>();
  for (const { groupId, groupPath, gateway, near, devices } of placed) {
    let scope = scopes.get(groupId);
    if (!scope) {
      scope = usable.filter((each) => serves(each, groupPath)).map(({ name }) => name);
      scope.sort();
      scopes.set(groupId, scope);
    }
    if (!scope.includes(gateway)) continue;
    const names = choicesOf(scope, gateway, near);
    const key = names.length === scope.length ? names.join(' ') : `${names.join(' ')} of ${scope.join(' ')}`;
    const known = classes.get(key);
    const made: DeviceClass = known ?? {
      key,
      devices: new Map(names.map((name) => [name, 0])),
      slices: new Map(names.map((name) => [name, []])),
      scope,
    };
    classes.set(key, made);
    made.devices.set(gateway, (made.devices.get(gateway) ?? 0) + devices);
    if (devices > 0) made.slices.get(gateway)?.push({ groupId, groupPath, near });
  }
  return [...classes.values()];
}

/** The gateways between which balancing may move a device that is on one of them. */
function choicesOf(scope: string[], gateway: string, near: string): string[] {
  if (near === '') return scope;
  for (const band of bandsOfText(near)) {
    const choices = scope.filter((name) => band.includes(name));
    if (choices.length > 0) return choices.includes(gateway) ? choices : [gateway];
  }
  return [gateway];
}
