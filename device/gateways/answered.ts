/** The gateways in an answer of the administration server (E-3, G-16). */
import { type GatewayAddress, ID_PATTERN, LIMITS } from '../../protocol/index.ts';
import type { DeviceLog } from '../log.ts';

/** The list as it was answered, and signed. Throws `TypeError` when it is not one. */
export function answeredGateways(list: unknown): GatewayAddress[] {
  if (!Array.isArray(list)) throw new TypeError('gateways');
  if (list.length > LIMITS.gateways) throw new TypeError(`gateways: more than ${LIMITS.gateways}`);
  return list.map((entry: Partial<GatewayAddress> | null) => {
    const { name, url } = entry ?? {};
    if (typeof name !== 'string' || typeof url !== 'string') throw new TypeError('gateways: name or url');
    return { name, url };
  });
}

/**
 * Those of the list that can be used: one that cannot be is skipped and warned about. Throws `TypeError`
 * where none is left.
 */
export function usableGateways(list: readonly GatewayAddress[], log: DeviceLog): GatewayAddress[] {
  const usable = list.filter(isUsable);
  for (const gateway of list) {
    if (!isUsable(gateway)) log.warn({ gateway }, 'the server names a gateway that cannot be used: skipped');
  }
  if (usable.length === 0 && list.length > 0) {
    throw new TypeError(`gateways: none of ${list.length} has a name and a url that can be used`);
  }
  return usable;
}

function isUsable({ name, url }: GatewayAddress): boolean {
  return ID_PATTERN.test(name) && url.length <= LIMITS.urlLength && URL.canParse(url);
}
