import type { Lease, ServedAddress } from '../../bus/bus.ts';
import { rankGateways } from '../../bus/ranking.ts';
import { LIMITS } from '../../protocol/index.ts';
import type { Store } from '../store/store.ts';
import { type FleetGateway, fleetOf, serves } from './fleet.ts';
import { gatewayWeight } from './weights.ts';

export interface PlacementParts {
  store: Store;
  leases: { list(): readonly Lease[] };
  directory: {
    weightOf(gateway: string): number | undefined;
    toldOf(gateway: string): ServedAddress | undefined;
  };
}

export interface WeighedGateway extends FleetGateway {
  /** The weight in the directory, so that gateways compute the same ranking. */
  weight: number;
  draining: boolean;
  /** The URL that devices get; `null` if no worker ever listened. */
  told: string | null;
}

/** The gateways at one moment, and which of them each device should use. */
export interface Fleet {
  readonly gateways: readonly WeighedGateway[];
  /** Gateways that are to serve the group, in this device's order; drained gateways come last. */
  ranked(device: string, groupPath: string): WeighedGateway[];
  /** The gateway of that worker; `undefined` if its lease is not known yet or no longer known. */
  gatewayOf(incarnation: string): WeighedGateway | undefined;
}

export async function readFleet({ store, leases, directory }: PlacementParts): Promise<Fleet> {
  const gateways = fleetOf(await store.gateways.all(), leases.list()).map((gateway) => ({
    ...gateway,
    weight: directory.weightOf(gateway.name) ?? gatewayWeight(gateway),
    draining: gateway.drainingSince !== null,
    told: (gateway.serves ?? directory.toldOf(gateway.name))?.address ?? null,
  }));
  const listed = gateways.filter(isListed);
  const byIncarnation = new Map(
    gateways.flatMap((gateway) => gateway.workers.map(({ incarnation }) => [incarnation, gateway] as const)),
  );
  return {
    gateways,
    ranked: (device, groupPath) =>
      rankGateways(
        device,
        listed.filter((gateway) => serves(gateway, groupPath)),
      ),
    gatewayOf: (incarnation) => byIncarnation.get(incarnation),
  };
}

/**
 * Whether it is in devices' lists. A gateway that is down stays in them, as it may be back when they dial.
 */
function isListed(gateway: WeighedGateway): boolean {
  return gateway.runPushServer && gateway.told !== null;
}

/** As messages name them. */
export function namesOf(gateways: readonly { name: string }[]): string[] {
  return gateways.slice(0, LIMITS.gateways).map(({ name }) => name);
}
