import type { Scenario } from './scenario.ts';
import { idle } from './scenarios/idle.ts';

/** In the order `all` runs them. */
export const SCENARIOS: readonly Scenario[] = [idle];
