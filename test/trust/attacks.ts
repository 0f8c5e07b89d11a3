/** Every attack; those of one kind are in one file. */
import type { Attack } from './attack.ts';
import { ADMISSIONS } from './attacks/admissions.ts';
import { BATCHES } from './attacks/batches.ts';
import { CERTIFICATES } from './attacks/certificates.ts';
import { CLOSINGS } from './attacks/closings.ts';
import { COPIES } from './attacks/copies.ts';
import { DIRECTORY } from './attacks/directory.ts';
import { ENROLMENTS } from './attacks/enrolments.ts';
import { EPOCHS } from './attacks/epochs.ts';
import { JOINS } from './attacks/joins.ts';
import { LISTS } from './attacks/lists.ts';
import { LOCATED } from './attacks/located.ts';
import { MEMBERSHIPS } from './attacks/memberships.ts';
import { ORDERS } from './attacks/orders.ts';
import { PASSES } from './attacks/passes.ts';
import { PROGRAMS } from './attacks/programs.ts';
import { RESULTS } from './attacks/results.ts';
import { SECRETS } from './attacks/secrets.ts';
import { SERVER_KEYS } from './attacks/server-keys.ts';
import { SERVERS } from './attacks/servers.ts';
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
  ...LISTS,
  ...TUNNELS,
  ...ENROLMENTS,
  ...SERVER_KEYS,
  ...DIRECTORY,
  ...PROGRAMS,
  ...BATCHES,
  ...CERTIFICATES,
  ...JOINS,
  ...SERVERS,
  ...COPIES,
  ...SECRETS,
  ...EPOCHS,
];
