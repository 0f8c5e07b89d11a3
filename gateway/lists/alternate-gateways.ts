/** The value of the header `Pushpoint-Gateways` (C-5): alternate gateways for a refused client. */
import type { ListedGateway } from './gateway-list.ts';

const MOST = 8;

/**
 * `name, name`; at most 8. Each call starts at another entry, so that clients refused together do not all go
 * to the same gateway.
 */
export function alternateGatewaysHeader(gateways: readonly ListedGateway[], random = Math.random()): string {
  const start = Math.floor(random * gateways.length);
  return [...gateways.slice(start), ...gateways.slice(0, start)]
    .slice(0, MOST)
    .map(({ name }) => name)
    .join(', ');
}
