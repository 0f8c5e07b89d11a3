/** The value of the header `Pushpoint-Gateways` (C-5): where else a newcomer that is refused may go. */
import type { ListedGateway } from './gateway-list.ts';

const MOST = 8;
/** What may stand in the header without quoting: an address with anything else is left out. */
const PLAIN = /^[\x21-\x2b\x2d-\x7e]+$/;

/**
 * `name url, name url`; at most 8. It begins elsewhere in the list each time, so that those refused together
 * do not all go to the same gateway.
 */
export function alternateGatewaysHeader(gateways: readonly ListedGateway[], random = Math.random()): string {
  const fit = gateways.filter(({ url }) => PLAIN.test(url));
  const start = Math.floor(random * fit.length);
  return [...fit.slice(start), ...fit.slice(0, start)]
    .slice(0, MOST)
    .map(({ name, url }) => `${name} ${url}`)
    .join(', ');
}
