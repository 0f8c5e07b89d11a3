/** Who is moved where. */
import type { Mutation } from '../mutation.ts';

export const BALANCE: readonly Mutation[] = [
  {
    name: 'balance-anywhere',
    title: 'balancing moves devices to any gateway of their scope, however far',
    patches: [
      { file: 'admin-api/balance/classes.js', find: "if (near === '')", replace: 'if (near !== undefined)' },
    ],
    proof: {
      file: 'admin-api/nearest-classes',
      test: 'random fleets: devices leave their nearest band only for load above the limit of a gateway',
    },
  },
];
