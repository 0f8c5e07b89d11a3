/**
 * Mechanisms of recovery, each switched off on purpose, and the proof that notices it: a test made for that
 * mechanism. What is patched is a copy of the compiled program: nothing that can be configured switches these
 * off.
 */

import type { Mutation } from './mutation.ts';
import { BALANCE } from './mutations/balance.ts';
import { BUS } from './mutations/bus.ts';
import { DEVICE } from './mutations/device.ts';
import { GATEWAY } from './mutations/gateway.ts';
import { LEDGER } from './mutations/ledger.ts';
import { PROGRAMS } from './mutations/programs.ts';

export const MUTATIONS: readonly Mutation[] = [
  ...BUS,
  ...LEDGER,
  ...GATEWAY,
  ...DEVICE,
  ...BALANCE,
  ...PROGRAMS,
];
