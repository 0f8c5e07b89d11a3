import { descriptorLimit } from './scenarios/descriptor-limit.ts';
import { groupScopes } from './scenarios/group-scopes.ts';
import { liveSettings } from './scenarios/live-settings.ts';
import { refusedSettings } from './scenarios/refused-settings.ts';
import { rollingRestart } from './scenarios/rolling-restart.ts';
import { spreadAndDrain } from './scenarios/spread-and-drain.ts';
import { trustChanges } from './scenarios/trust-changes.ts';
import type { World } from './world.ts';

export interface Scenario {
  name: string;
  /** What it shows. */
  title: string;
  /** Rejects when something does not hold. What it gave is reconciled afterwards. */
  run(world: World): Promise<void>;
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'spread',
    title: 'devices are spread by weight, a fifth gateway joins, one is drained',
    run: spreadAndDrain,
  },
  {
    name: 'live-settings',
    title: 'a live gateway changes its port, is switched off and on',
    run: liveSettings,
  },
  {
    name: 'refused-settings',
    title: 'settings that cannot be applied are told, the old ones serve',
    run: refusedSettings,
  },
  {
    name: 'descriptors',
    title: 'a worker short of descriptors stops listening, and returns',
    run: descriptorLimit,
  },
  { name: 'scopes', title: 'every device is only ever on a gateway whose scope holds it', run: groupScopes },
  {
    name: 'rolling-restart',
    title: 'all gateways restart, one by one, under 100 commands a second',
    run: rollingRestart,
  },
  {
    name: 'trust-changes',
    title: 'certificates, authority and keys change, a gateway is revoked, a backup restored',
    run: trustChanges,
  },
];
