/** Every attack; those of one kind are in one file. */
import type { Attack } from './attack.ts';
import { ADMISSIONS } from './attacks/admissions.ts';
import { CLOSINGS } from './attacks/closings.ts';
import { EPOCHS } from './attacks/epochs.ts';
import { LOCATED } from './attacks/located.ts';
import { MEMBERSHIPS } from './attacks/memberships.ts';
import { ORDERS } from './attacks/orders.ts';
import { PASSES } from './attacks/passes.ts';
import { PROGRAMS } from './attacks/programs.ts';
import { RESULTS } from './attacks/results.ts';
import { SECRETS } from './attacks/secrets.ts';
import { TIMES } from './attacks/times.ts';
import { TUNNELS } from './attacks/tunnels.ts';

export const ATTACKS: readonly Attack[] = [
  ...RESULTS,
  ...CLOSINGS,
  ...ORDERS,
  ...MEMBERSHIPS,
  ...TIMES,
  ...PASSES,
  ...ADMISSIONS,
  ...LOCATED,
  ...TUNNELS,
  ...PROGRAMS,
  ...EPOCHS,
  ...SECRETS,
];
