/** Every attack; those of one kind are in one file. */
import type { Attack } from './attack.ts';
import { CLOSINGS } from './attacks/closings.ts';
import { ORDERS } from './attacks/orders.ts';
import { RESULTS } from './attacks/results.ts';

export const ATTACKS: readonly Attack[] = [...RESULTS, ...CLOSINGS, ...ORDERS];
