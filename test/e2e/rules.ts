/** What Pushpoint does for its users in whichever form it runs, one file per matter. */

import type { DeploymentOptions } from '../deployment/deployment.ts';
import { withLab } from './lab.ts';
import { absenceRules } from './rules-absence.ts';
import { canaryRules } from './rules-canary.ts';
import { commandsRules } from './rules-commands.ts';
import { endsRules } from './rules-ends.ts';
import { eventsRules } from './rules-events.ts';
import { redeliveryRules } from './rules-redelivery.ts';

/** Registers all rules for a deployment of this form; the caller runs them with `test.run()`. */
export function formRules(form: Pick<DeploymentOptions, 'bus' | 'store'>): void {
  const lab = withLab({ ...form, adminFlags: ['--canary-interval', '500ms'] });
  // On the empty deployment.
  canaryRules(lab);
  commandsRules(lab);
  absenceRules(lab);
  endsRules(lab);
  eventsRules(lab);
  redeliveryRules(lab);
}
