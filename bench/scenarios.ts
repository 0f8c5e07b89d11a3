import type { Scenario } from './scenario.ts';
import { ceiling } from './scenarios/ceiling.ts';
import { costs } from './scenarios/costs.ts';
import { fanout } from './scenarios/fanout.ts';
import { flood } from './scenarios/flood.ts';
import { idle } from './scenarios/idle.ts';
import { peers } from './scenarios/peers.ts';
import { scaling } from './scenarios/scaling.ts';
import { slow } from './scenarios/slow.ts';
import { soak } from './scenarios/soak.ts';
import { storm } from './scenarios/storm.ts';
import { unicast } from './scenarios/unicast.ts';

/** In the order `all` runs them; the last takes what is left of the hour. */
export const SCENARIOS: readonly Scenario[] = [
  idle,
  fanout,
  unicast,
  storm,
  slow,
  flood,
  peers,
  costs,
  scaling,
  soak,
  ceiling,
];
