import { type GatewayAddress, ID_PATTERN, LIMITS } from '../../protocol/index.ts';
import { dialable } from './dialable.ts';

/** Entries that are read; a gateway names no more (C-5). */
const MAX = 8;

/** A Pushpoint-Gateways header: `name url, name url`. Other entries are left out. */
export function refusalGateways(header: string | string[] | undefined): GatewayAddress[] {
  if (header === undefined) return [];
  return [header]
    .flat()
    .join(',')
    .split(',', MAX)
    .flatMap((entry) => {
      const [name = '', url = '', ...more] = entry.trim().split(/\s+/);
      const good = more.length === 0 && ID_PATTERN.test(name) && url.length <= LIMITS.urlLength;
      return good && dialable(url) ? [{ name, url }] : [];
    });
}
