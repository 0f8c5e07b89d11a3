/** The value of the header `Pushpoint-Gateways` (C-5): alternate gateways for a refused client. */
import type { ListedGateway } from './gateway-list.ts';

const MOST = 8;
/** Characters allowed in the header without quoting; addresses with any other character are left out. */
const PLAIN = /^[\x21-\x2b\x2d-\x7e]+$/;

/**
 * `name url, name url`; at most 8. Each call starts at another entry, so that clients refused together do not
 * all go to the same gateway.
 */
export function alternateGatewaysHeader(gateways: readonly ListedGateway[], random = Math.random()): string {
  const fit = gateways.filter(({ url }) => PLAIN.test(url));
  const start = Math.floor(random * fit.length);
  return [...fit.slice(start), ...fit.slice(0, start)]
    .slice(0, MOST)
    .map(({ name, url }) => `${name} ${url}`)
    .join(', ');
}
