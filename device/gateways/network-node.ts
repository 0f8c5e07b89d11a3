import { networkInterfaces } from 'node:os';
import type { NetworkWatch } from './network-watch.ts';

/** Compares this machine's addresses every so often; Node is not told when they change. */
export function watchInterfaces(
  everyMs = 30_000,
  read: typeof networkInterfaces = networkInterfaces,
): NetworkWatch {
  return (changed) => {
    let known = addresses(read);
    const timer = setInterval(() => {
      const now = addresses(read);
      // Out of reach of every network there is nothing to choose from: what counts is being back.
      if (now !== known && now !== '') changed();
      known = now;
    }, everyMs);
    return () => clearInterval(timer);
  };
}

/** As one text. Of IPv6 only the prefix counts: temporary addresses come and go in the same network. */
function addresses(read: typeof networkInterfaces): string {
  const found = Object.entries(read()).flatMap(([name, list = []]) =>
    list
      .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
      .map(({ family, address, netmask }) =>
        family === 'IPv4'
          ? `${name} ${address} ${netmask}`
          : `${name} ${address.split('::')[0]?.split(':').slice(0, 4).join(':')}`,
      ),
  );
  return [...new Set(found)].sort().join('\n');
}
