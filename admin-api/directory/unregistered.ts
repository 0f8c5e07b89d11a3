/** Gateways that run but are not stored: they are in no device's list, and each gets the reason. */
import type { GatewaySettings, Lease } from '../../bus/bus.ts';
import type { Gateway } from '../store/records.ts';
import type { Store } from '../store/store.ts';

export interface Unregistered {
  name: string;
  initial: GatewaySettings;
  /** Why, and what to do. */
  why: string;
}

/** Why a gateway with these settings cannot be registered; `null` when it can. */
export async function refusalOf(store: Store, { group }: GatewaySettings): Promise<string | null> {
  if (await store.groups.get(group)) return null;
  return (
    `its group ${group} does not exist, so it serves nobody: make the group, or start the gateway with ` +
    'another --gateway-group'
  );
}

/**
 * Gateways with a lease whose name is not among `registered`, each once, without those that are about to be
 * registered.
 */
export async function unregistered(
  store: Store,
  leases: readonly Lease[],
  registered: ReadonlySet<string>,
): Promise<Unregistered[]> {
  const found = new Map<string, Unregistered>();
  for (const { identity } of leases) {
    const { gateway: name, initial } = identity;
    if (registered.has(name) || found.has(name)) continue;
    const why = await refusalOf(store, initial);
    if (why !== null) found.set(name, { name, initial, why });
  }
  return [...found.values()];
}

/** In the form of a registered gateway, for people. */
export function asGateway({ name, initial }: Unregistered, at: number): Gateway {
  const { group, ...settings } = initial;
  return {
    ...settings,
    name,
    groupId: group,
    revision: 0,
    drainingSince: null,
    drainedAt: null,
    createdAt: at,
    updatedAt: at,
  };
}
