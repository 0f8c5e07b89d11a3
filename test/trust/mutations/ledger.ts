/** What keeps ends that no device made out of the ledger. */
import type { TrustMutation } from '../play-attack.ts';

const SIGNING = 'protocol/signing.js';
const RESULT_BYTES = 'export function resultBytes(device, command, body) {\n';
const SECRET_BYTES = 'export function deviceSecretBytes(device, generation) {\n';

export const LEDGER: readonly TrustMutation[] = [
  {
    name: 'results-unchecked',
    title: 'the ledger takes results whoever made them',
    patches: [
      {
        file: 'admin-api/device-secrets.js',
        find: 'made(result, generation) {\n',
        replace: 'made(result, generation) {\n        return true;\n',
      },
    ],
    proof: 'forged-result-by-gateway',
  },
  {
    name: 'one-secret-for-all',
    title: 'what seals a result is the same for all devices',
    patches: [
      { file: SIGNING, find: SECRET_BYTES, replace: `${SECRET_BYTES}    device = '';\n` },
      { file: SIGNING, find: RESULT_BYTES, replace: `${RESULT_BYTES}    device = '';\n` },
    ],
    proof: 'result-of-another-device',
  },
  {
    name: 'results-of-any-command',
    title: 'a result is sealed without its command',
    patches: [{ file: SIGNING, find: RESULT_BYTES, replace: `${RESULT_BYTES}    command = '';\n` }],
    proof: 'result-of-another-command',
  },
  {
    name: 'bodies-not-sealed',
    title: 'a result is sealed without its body',
    patches: [
      { file: SIGNING, find: RESULT_BYTES, replace: `${RESULT_BYTES}    body = new Uint8Array(0);\n` },
    ],
    proof: 'swapped-bodies',
  },
];
