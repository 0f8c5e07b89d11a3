import type { Lease, ServedAddress } from '../../bus/bus.ts';
import { rankGateways } from '../../bus/ranking.ts';
import { type GatewayAddress, LIMITS } from '../../protocol/index.ts';
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
  /** As the directory has it, so that gateways rank alike. */
  weight: number;
  draining: boolean;
  /** The URL that devices are told; `null` while no worker ever listened at one. */
  told: string | null;
}

/** The gateways at one moment, and where devices belong among them. */
export interface Fleet {
  readonly gateways: readonly WeighedGateway[];
  /**
   * Gateways told to serve the group, in the order this device should use them; those that are drained come
   * last.
   */
  ranked(device: string, groupPath: string): WeighedGateway[];
  /** The gateway that worker is of; `undefined` for one whose lease is not known (yet, or any more). */
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

/** Whether devices are told of it at all: also while it is down, for it may be back when they dial. */
function isListed(gateway: WeighedGateway): boolean {
  return gateway.runPushServer && gateway.told !== null;
}

export function addressesOf(gateways: readonly { name: string; told: string | null }[]): GatewayAddress[] {
  return gateways
    .flatMap(({ name, told }) => (told === null ? [] : [{ name, url: told }]))
    .slice(0, LIMITS.gateways);
}
