/**
 * Chooses gateways for devices by weighted rendezvous hashing. Every device has its own order of the
 * gateways. Each gateway comes first for a share of the devices proportional to its weight; a gateway that
 * joins or leaves changes the first place of that share only. Administration servers and gateways compute the
 * same order.
 */

export interface RankedGateway {
  name: string;
  /** Its share of new devices relative to the others; 0: only when nothing else is left. */
  weight: number;
  /** An operator drains it: it comes after all others, including those of weight 0. */
  draining?: boolean;
}

/** The gateways in the order this device should use them, the best first. */
export function rankGateways<T extends RankedGateway>(device: string, gateways: readonly T[]): T[] {
  if (gateways.length < 2) return [...gateways];
  return gateways
    .map((gateway) => ({ gateway, score: rankingScore(device, gateway.name, gateway.weight) }))
    .sort((a, b) => {
      const last = Number(a.gateway.draining ?? false) - Number(b.gateway.draining ?? false);
      return last || b.score - a.score || (a.gateway.name < b.gateway.name ? -1 : 1);
    })
    .map(({ gateway }) => gateway);
}

/**
 * Higher is better: `-weight / ln(h)` with h evenly distributed between 0 and 1 by device and gateway.
 * Gateways of weight 0 come last, in an order that is still the device's own.
 */
export function rankingScore(device: string, gateway: string, weight: number): number {
  const h = unit(device, gateway);
  return weight > 0 ? -weight / Math.log(h) : h - 1;
}

/** Hashes two texts to a uniform number between 0 and 1, both excluded. */
function unit(device: string, gateway: string): number {
  const low = hash(device, gateway, 0x811c9dc5);
  const high = hash(device, gateway, 0x01000193);
  return ((high >>> 6) * 2 ** 27 + (low >>> 5) + 0.5) / 2 ** 53;
}

/**
 * FNV-1a over both texts, then the finaliser of MurmurHash3, without which similar names give similar
 * numbers.
 */
function hash(device: string, gateway: string, seed: number): number {
  let h = seed;
  for (let i = 0; i < device.length; i++) h = Math.imul(h ^ device.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ 0xff, 0x01000193);
  for (let i = 0; i < gateway.length; i++) h = Math.imul(h ^ gateway.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
