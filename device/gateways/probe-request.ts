import type { GatewayAddress } from '../../protocol/index.ts';

/** Where a gateway answers probes (G-10): the host and port of its url, over http or https. */
export function probeUrl({ url }: GatewayAddress): URL {
  return new URL('/probe', url.replace(/^ws/i, 'http'));
}

/** Throws unless it is the answer of that gateway. `name` is `null` where a browser does not show it. */
export function checkProbeAnswer(
  gateway: GatewayAddress,
  status: number | undefined,
  name: string | string[] | null | undefined,
): void {
  if (status !== 204) throw new Error(`HTTP ${status}`);
  if (name !== null && name !== gateway.name) throw new Error(`${gateway.url} is not ${gateway.name}`);
}
