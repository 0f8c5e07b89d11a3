/** What keeps tunnels to their two ends. */
import type { Patch } from '../../faults/mutate/mutation.ts';
import type { TrustMutation } from '../play-attack.ts';
import { DELIVERIES_WITHOUT_MAC } from './programs.ts';

const CIPHER = 'device/platform/frame-cipher-node.js';
const OPEN = '    open(counter, message) {\n';

const IN_CLEAR: readonly Patch[] = [
  {
    file: CIPHER,
    find: 'const [encrypted, tag] = encryptGcm(this.#own, nonce, frame);',
    replace: 'const [encrypted, tag] = [Buffer.from(frame), encryptGcm(this.#own, nonce, frame)[1]];',
  },
  {
    file: CIPHER,
    find: OPEN,
    replace: `${OPEN}        return message.subarray(SEAL_COUNTER_BYTES, -LIMITS.sealTagBytes);\n`,
  },
];

export const TUNNELS: readonly TrustMutation[] = [
  {
    name: 'tunnels-in-clear',
    title: 'frames of tunnels travel as they are',
    patches: IN_CLEAR,
    proof: 'tunnel-read',
  },
  {
    name: 'tunnels-without-key',
    title: 'an end of a tunnel takes frames of who has no key, and a gateway lets anybody in',
    patches: [...IN_CLEAR, DELIVERIES_WITHOUT_MAC],
    proof: 'tunnel-entered',
  },
  {
    name: 'tunnels-of-any-worker',
    title: 'the ledger takes the end of a tunnel from whoever reports it',
    patches: [
      {
        file: 'admin-api/store/tunnels.js',
        find: "\n        .where('incarnation', '=', incarnation)",
        replace: '',
      },
    ],
    proof: 'tunnel-ended-by-another',
  },
];
