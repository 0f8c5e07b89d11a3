/**
 * Several scenarios one after another on one fleet, whose devices are stored and connected only once: with
 * many devices that takes longer than the measurements.
 */
import type { Bench, Scenario } from '../scenario.ts';
import { type Fleet, prepareFleet } from '../site/fleet.ts';
import { measureFanout } from './fanout.ts';
import { measureFlood } from './flood.ts';
import { measureIdle } from './idle.ts';
import { measureSlow } from './slow.ts';
import { measureSoak } from './soak.ts';
import { measureStorm } from './storm.ts';
import { measureUnicast } from './unicast.ts';

/** The storm is the last: it leaves a gateway dead. */
const PARTS: readonly [string, (bench: Bench, fleet: Fleet) => Promise<void>][] = [
  ['idle', measureIdle],
  ['fanout', measureFanout],
  ['unicast', measureUnicast],
  ['slow', measureSlow],
  ['flood', measureFlood],
  ['soak', measureSoak],
  ['storm', measureStorm],
];

/** Those among `names` that work on a Pushpoint fleet; all such scenarios without names. */
export function together(names: readonly string[]): Scenario {
  return {
    name: 'together',
    title: `${names.length === 0 ? 'a bit of everything' : names.join(', ')} on one fleet`,
    devices: 50_000,
    quickDevices: 500,
    async run(bench) {
      const fleet = await prepareFleet(bench, {
        gateways: ['gw1', 'gw2'],
        ...(bench.quick && { workers: 2 }),
      });
      for (const [name, measure] of PARTS) {
        if (names.length > 0 && !names.includes(name)) continue;
        bench.scenario = name;
        bench.say('begins');
        await measure(bench, fleet);
      }
      bench.scenario = 'together';
    },
  };
}
