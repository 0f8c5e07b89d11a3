/** What keeps everybody to the keys that the root key signed, and gateways to what these signed. */
import type { TrustMutation } from '../play-attack.ts';

const KEYS = 'protocol/server-keys.js';
const INGEST = 'admin-api/ledger/ingest.js';
const MEMBERSHIPS = 'gateway/admission/membership-check.js';

export const SERVER_KEYS: readonly TrustMutation[] = [
  {
    name: 'keys-unsigned',
    title: 'server keys count whoever signed them in the name of the root',
    patches: [
      {
        file: KEYS,
        find: 'return (await verify(keys.root, serverKeysBytes(signed.body), signed.sig)) ? keys : null;',
        replace: 'return keys;',
      },
    ],
    proof: 'forged-keys-by-gateway',
  },
  {
    name: 'roots-replaced-by-anyone',
    title: 'the next root key needs no signature by the one before',
    patches: [
      {
        file: KEYS,
        find: 'if (!previousSig || !(await verify(held.root, serverKeysBytes(signed.body), previousSig)))',
        replace: 'if (!previousSig)',
      },
    ],
    proof: 'keys-of-another-root-by-gateway',
  },
  {
    name: 'old-keys-taken',
    title: 'a device takes server keys that are older than its own',
    patches: [
      {
        file: KEYS,
        find: 'if (!keys || !isNewer(editionOf(keys), editionOf(held)))',
        replace: 'if (!keys)',
      },
    ],
    proof: 'replayed-keys-by-gateway',
  },
  {
    name: 'keys-of-any-installation',
    title: 'a gateway takes the server keys of any root',
    patches: [
      {
        file: 'gateway/lists/carried-keys.js',
        find: "return createHash('sha256').update(root).digest().equals(fingerprint);",
        replace: 'return true;',
      },
    ],
    proof: 'replaced-server-keys',
  },
  {
    name: 'entries-of-any-key',
    title: 'a gateway believes the directory about the key of a device',
    patches: [
      { file: MEMBERSHIPS, find: 'Buffer.compare(order.key, device.publicKey) === 0 &&', replace: '' },
    ],
    proof: 'replaced-device-key',
  },
  {
    name: 'entries-unsigned',
    title: 'a gateway believes memberships whoever signed them',
    patches: [
      {
        file: MEMBERSHIPS,
        find: 'return keys.some((key) => isSigned(sig, bytes, key));',
        replace: 'return true;',
      },
    ],
    proof: 'forged-entry',
  },
  {
    name: 'rotations-unproven',
    title: 'the next key of a device needs no signature by the one before',
    patches: [
      {
        file: 'admin-api/services/key-rotation-service.js',
        find: ' || !holdsKey(request.from, bytes, fromSig)',
        replace: '',
      },
    ],
    proof: 'forged-rotation',
  },
  {
    name: 'blocked-stay',
    title: 'the ledger lets devices stay that were blocked, however they came',
    patches: [
      {
        file: INGEST,
        find: 'else if (device.blockedAt !== null)',
        replace: 'else if (false)',
      },
    ],
    proof: 'blocked-returns',
  },
  {
    name: 'earlier-keys-stay',
    title: 'the ledger does not ask by which key a device came',
    patches: [
      {
        file: INGEST,
        find: 'else if (key !== undefined && key !== keyMark(device.publicKey))',
        replace: 'else if (false)',
      },
    ],
    proof: 'earlier-key-returns',
  },
  {
    name: 'dismissals-forgotten',
    title: 'a worker admits by an older entry than the one it sent the device away with',
    patches: [
      {
        file: 'gateway/admission/dismissals.js',
        find: 'return told !== undefined && isNewer(told, membershipEdition);',
        replace: 'return false;',
      },
    ],
    proof: 'earlier-key-returns',
  },
];
