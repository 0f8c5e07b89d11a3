/** What keeps programs that are none of the installation from speaking through Redis. */
import type { Patch } from '../../faults/mutate/mutation.ts';
import type { TrustMutation } from '../play-attack.ts';

const RECEIPTS = 'bus/redis/receipt-entry.js';
const OWN_DEVICES = 'admin-api/ledger/own-devices.js';
const LEASES = 'bus/redis/lease-records.js';
const SESSIONS = 'admin-api/store/devices/sessions.js';

/** Through Redis it stands before what the two ends of a tunnel, and devices, check themselves. */
export const DELIVERIES_WITHOUT_MAC: Patch = {
  file: 'bus/redis/outbox-entries.js',
  find: 'if (!this.#authenticator.checksServers)\n            return true;',
  replace: 'return true;',
};

export const PROGRAMS: readonly TrustMutation[] = [
  {
    name: 'leases-without-mac',
    title: 'whoever writes a lease is a gateway',
    patches: [
      {
        file: LEASES,
        find: "if (said === null || checked !== 'good')",
        replace: 'if (said === null)',
      },
    ],
    proof: 'foreign-gateway',
  },
  {
    name: 'receipts-without-mac',
    title: 'the ledger takes batches of receipts whoever appended them',
    patches: [
      {
        file: RECEIPTS,
        find: "if (typeof entry === 'string')\n        return entry;",
        replace: "if (typeof entry === 'string')\n        return decodeBatch(batch);",
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
    proof: 'progress-of-others',
  },
  {
    name: 'presence-of-anyone',
    title: 'the ledger believes presence of whoever wrote it',
    patches: [
      {
        file: OWN_DEVICES,
        find: 'isAlive: alive.has(holder.incarnation)',
        replace: 'isAlive: true',
      },
    ],
    proof: 'presence-claimed',
  },
  {
    name: 'any-group-spoken-for',
    title: 'a gateway speaks for devices of groups that it does not serve',
    patches: [
      {
        file: OWN_DEVICES,
        find: "return kind === 'disconnected' || isServed(groupPath, groupId);",
        replace: 'return true;',
      },
    ],
    proof: 'presence-outside-its-group',
  },
  {
    name: 'deliveries-without-mac',
    title: 'a gateway takes deliveries whoever appended them',
    patches: [DELIVERIES_WITHOUT_MAC],
    proof: 'tunnel-place-granted',
  },
  {
    name: 'deliveries-repeated',
    title: 'a gateway takes an authenticated delivery as often as it comes',
    patches: [
      {
        file: 'bus/redis/macs/sequences.js',
        find: 'take(sender, number, place) {\n',
        replace: 'take(sender, number, place) {\n        return true;\n',
      },
    ],
    proof: 'replayed-grant',
  },
  {
    name: 'leases-of-any-gateway',
    title: 'a gateway takes leases for other gateways',
    patches: [{ file: LEASES, find: 'if (!good)', replace: 'if (false)' }],
    proof: 'gateway-of-another-name',
  },
  {
    name: 'batches-for-others',
    title: 'a gateway reports in the name of other gateways',
    patches: [
      {
        file: RECEIPTS,
        find: 'if (!speakForThemselves(receipts, entry.gateway))',
        replace: 'if (false)',
      },
    ],
    proof: 'batch-for-another',
  },
  {
    name: 'macs-of-any-bytes',
    title: 'a MAC is good for any bytes beside it',
    patches: [
      {
        file: 'bus/redis/macs/entry-mac.js',
        find: 'return timingSafeEqual(macOf(key, purpose, entry, parts), entry.mac);',
        replace: 'return true;',
      },
    ],
    proof: 'changed-batch',
  },
  {
    name: 'old-status-taken',
    title: 'the ledger takes what a device said before for what it says now',
    patches: [
      {
        file: 'admin-api/store/devices/device-reports.js',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is part of the code.
        find: "where: (r) => sql `${r('number')} > e.status_number`",
        replace: 'where: (r) => sql `1 = 1`',
      },
    ],
    proof: 'replayed-status',
  },
  {
    name: 'statuses-in-any-order',
    title: 'of what a device said in one batch, the ledger takes the last',
    patches: [
      {
        file: 'admin-api/ledger/reduce-receipts.js',
        find: 'return next.number > known.number ?',
        replace: 'return true ?',
      },
    ],
    proof: 'reordered-statuses',
  },
  {
    name: 'sessions-begin-again',
    title: 'the ledger takes a previous session for a new one',
    patches: [
      {
        file: SESSIONS,
        find: 'if (connected !== undefined && report.session > row.session) {',
        replace: 'if (connected !== undefined) {',
      },
    ],
    proof: 'replayed-session',
  },
  {
    name: 'sessions-end-others',
    title: 'the end of a previous session ends the present one',
    patches: [
      {
        file: SESSIONS,
        find: 'if (disconnected !== undefined && report.session >= seen.session && !known) {',
        replace: 'if (disconnected !== undefined) {',
      },
    ],
    proof: 'reordered-batches',
  },
];
