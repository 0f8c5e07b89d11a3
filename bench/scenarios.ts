import type { Scenario } from './scenario.ts';
import { fanout } from './scenarios/fanout.ts';
import { idle } from './scenarios/idle.ts';
import { peers } from './scenarios/peers.ts';
import { unicast } from './scenarios/unicast.ts';

/** In the order `all` runs them. */
export const SCENARIOS: readonly Scenario[] = [idle, fanout, unicast, peers];
