/** What keeps programs that are none of the installation from speaking through Redis. */
import type { Patch } from '../../faults/mutate/mutation.ts';
import type { TrustMutation } from '../play-attack.ts';

const RECEIPTS = 'bus/redis/receipt-entry.js';

/** Through Redis it stands before what the two ends of a tunnel, and devices, check themselves. */
export const DELIVERIES_UNSEALED: Patch = {
  file: 'bus/redis/outbox-entries.js',
  find: 'if (!this.#seals.checksServers)\n            return true;',
  replace: 'return true;',
};

export const PROGRAMS: readonly TrustMutation[] = [
  {
    name: 'leases-unsealed',
    title: 'whoever writes a lease is a gateway',
    patches: [
      {
        file: 'bus/redis/lease-records.js',
        find: "if (said === null || sealed !== 'good')",
        replace: 'if (said === null)',
      },
    ],
    proof: 'foreign-gateway',
  },
  {
    name: 'receipts-unsealed',
    title: 'the ledger takes batches of receipts whoever appended them',
    patches: [
      {
        file: RECEIPTS,
        find: "if (typeof seal === 'string')\n        return seal;",
        replace: "if (typeof seal === 'string')\n        return decodeBatch(batch);",
      },
    ],
    proof: 'presence-theft',
  },
  {
    name: 'any-device-spoken-for',
    title: 'a gateway speaks for devices that are with another',
    patches: [
      {
        file: 'admin-api/ledger/own-devices.js',
        find:
          'else if (!endsUnknownSession(receipt, place, groupId))\n' +
          '                elsewhere.push(receipt);',
        replace: '',
      },
    ],
    proof: 'status-of-others',
  },
  {
    name: 'deliveries-unsealed',
    title: 'a gateway takes deliveries whoever appended them',
    patches: [DELIVERIES_UNSEALED],
    proof: 'tunnel-place-granted',
  },
];
