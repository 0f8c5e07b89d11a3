/** A bit of every scenario on one small fleet, within a minute: for what must hold at any scale. */
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

export const quick: Scenario = {
  name: 'quick',
  title: 'a bit of everything',
  devices: 500,
  quickDevices: 500,
  async run(bench) {
    const fleet = await prepareFleet(bench, { gateways: ['gw1', 'gw2'], workers: 2 });
    for (const [name, measure] of PARTS) {
      bench.scenario = name;
      bench.say('begins');
      await measure(bench, fleet);
    }
    bench.scenario = 'quick';
  },
};
