import type { Lease } from '../../bus/bus.ts';
import { serves } from '../balance/fleet.ts';
import type { WeighedGateway } from '../balance/placement.ts';

export interface ChosenWorker {
  gateway: WeighedGateway;
  lease: Lease;
}

/**
 * Chooses the worker for a tunnel to a device of that group: among the device's gateways, the one with the
 * fewest tunnels, then the least full one. Among equals it prefers the gateway that the device is connected
 * to, which it certainly reaches. `null` if there is none.
 */
export function chooseWorker(
  gateways: readonly WeighedGateway[],
  live: ReadonlyMap<string, number>,
  device: { groupPath: string; gateway: string | null },
  except?: string,
): ChosenWorker | null {
  const candidates = gateways
    .filter((gateway) => gateway.serving && serves(gateway, device.groupPath) && listens(gateway))
    .flatMap((gateway) => gateway.workers.map((lease) => ({ gateway, lease })))
    .filter(({ lease }) => lease.incarnation !== except && hasRoom(lease, live))
    .map((candidate) => {
      const { incarnation, load } = candidate.lease;
      const tunnels = Math.max(live.get(incarnation) ?? 0, load.tunnels?.open ?? 0);
      const fullness = load.connections / Math.max(1, load.limit);
      return { candidate, tunnels, fullness, far: candidate.gateway.name === device.gateway ? 0 : 1 };
    });
  candidates.sort((a, b) => a.tunnels - b.tunnels || step(a.fullness) - step(b.fullness) || a.far - b.far);
  return candidates[0]?.candidate ?? null;
}

/** Legs may come to any worker of a gateway, so one that listens is enough. */
function listens({ workers }: WeighedGateway): boolean {
  return workers.some(({ load }) => load.port !== undefined);
}

function hasRoom({ incarnation, load }: Lease, live: ReadonlyMap<string, number>): boolean {
  const leaves = load.leaving !== undefined && load.leaving.why !== 'port';
  return !leaves && load.tunnels !== undefined && (live.get(incarnation) ?? 0) < load.tunnels.limit;
}

/** Differences of a few connections do not count. */
function step(fullness: number): number {
  return Math.floor(fullness * 10);
}
