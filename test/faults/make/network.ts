/** Links that are slow, cut, or go silent; and devices that are in two places. */

import type { LinkName, ProgramName } from '../deployment.ts';
import type { Fault, Times } from '../fault.ts';

const DELAY_MS = 150;
const COPIES = 15;

export function linkSlow(name: LinkName, times: Times): Fault {
  return {
    name: `${name} slow`,
    to: 'links',
    begin: (world) => world.deployment.link(name).slow(DELAY_MS),
    end: (world) => world.deployment.link(name).heal(),
    holdMs: times.slow,
    survivable: true,
    keepsSockets: true,
  };
}

/** A program without its link to Redis; devices are nobody's dependency. */
function darkensOf(name: LinkName): Pick<Fault, 'darkens'> {
  return name.startsWith('devices')
    ? {}
    : { darkens: { from: name.split('-')[0] as ProgramName, dependency: 'bus' } };
}

export function linkCut(name: LinkName, times: Times): Fault {
  return {
    name: `${name} cut`,
    to: 'links',
    begin: (world) => world.deployment.link(name).cut(),
    end: (world) => world.deployment.link(name).heal(),
    holdMs: times.slow,
    ...darkensOf(name),
    keepsSockets: !name.startsWith('devices'),
  };
}

/** Half-open: longer than a lease. */
export function linkSilent(name: LinkName, times: Times): Fault {
  return {
    name: `${name} half-open`,
    to: 'links',
    begin: (world) => world.deployment.link(name).silence(),
    end: (world) => world.deployment.link(name).heal(),
    holdMs: times.stopped,
    ...darkensOf(name),
    keepsSockets: !name.startsWith('devices'),
  };
}

/** Devices hear their gateway and are not heard. */
export function linkOneWay(name: LinkName, times: Times): Fault {
  return {
    name: `${name} one-way`,
    to: 'links',
    begin: (world) => world.deployment.link(name).oneWay(),
    end: (world) => world.deployment.link(name).heal(),
    holdMs: times.stopped,
  };
}

/** Some devices have copies that connect from elsewhere with the same identity, and take turns with them. */
export function devicesTwice(times: Times): Fault {
  return {
    name: 'devices connected twice',
    to: 'devices',
    endsLast: true,
    begin: (world, random) =>
      world.fleet.copy(
        random.some(
          COPIES,
          world.devices.filter(({ process }) => process !== world.keptProcess),
        ),
      ),
    async end(world) {
      await world.quiet(() => world.fleet.endCopies(world.devices));
    },
    holdMs: times.slow,
  };
}
