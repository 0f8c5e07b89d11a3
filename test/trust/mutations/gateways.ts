/** What keeps devices from gateways that are not the server's, and gateways from who is not the device. */
import type { TrustMutation } from '../play-attack.ts';

const PASSES = 'device/gateways/passes.js';
const SIGNING = 'protocol/signing.js';
const PROOF_BYTES = 'export function proofBytes(nonce, gateway, device) {\n';

export const GATEWAYS: readonly TrustMutation[] = [
  {
    name: 'passes-unverified',
    title: 'a device believes passes whoever signed them',
    patches: [
      {
        file: PASSES,
        find: 'if (!(await this.#parts.verify(',
        replace: 'if (false && !(await this.#parts.verify(',
      },
    ],
    proof: 'forged-pass',
  },
  {
    name: 'passes-of-any-gateway',
    title: 'the pass of any gateway vouches for all',
    patches: [{ file: PASSES, find: 'if (pass?.gateway === gateway) {', replace: 'if (pass) {' }],
    proof: 'pass-of-another',
  },
  {
    name: 'passes-never-expire',
    title: 'a pass counts for a day from when it is seen, however old it is',
    patches: [
      {
        file: PASSES,
        find: 'Math.min(LONGEST_MS, pass.expiresAt - clock.now())',
        replace: 'LONGEST_MS',
      },
    ],
    proof: 'expired-pass',
  },
  {
    name: 'pass-time-without-floor',
    title: 'a gateway that tells an earlier time makes its old pass count',
    patches: [
      {
        file: 'device/executions/server-clock.js',
        find: 'return Math.max(this.#told(), this.#floor);',
        replace: 'return this.#told();',
      },
    ],
    proof: 'expired-pass-and-lying',
  },
  {
    name: 'no-vouching',
    title: 'a device stays with a gateway that nobody vouches for',
    patches: [
      {
        file: 'device/gateways/vouching.js',
        find: 'if (others.length > 0)',
        replace: 'if (others.length < 0)',
      },
    ],
    proof: 'forged-pass',
  },
  {
    name: 'any-name-proved-to',
    title: 'a device proves itself to a gateway that says another name than it dialed',
    patches: [
      {
        file: 'device/connection/connection.js',
        find: 'if (gateway !== this.address.name) {',
        replace: 'if (false) {',
      },
    ],
    proof: 'relayed-challenge',
  },
  {
    name: 'proofs-for-any-gateway',
    title: 'a proof is signed without the name of its gateway',
    patches: [{ file: SIGNING, find: PROOF_BYTES, replace: `${PROOF_BYTES}    gateway = '';\n` }],
    proof: 'relayed-nonce',
  },
  {
    name: 'proofs-for-any-challenge',
    title: 'a proof is signed without the nonce of its challenge',
    patches: [
      { file: SIGNING, find: PROOF_BYTES, replace: `${PROOF_BYTES}    nonce = new Uint8Array(0);\n` },
    ],
    proof: 'replayed-proof',
  },
  {
    name: 'proofs-unchecked',
    title: 'a gateway admits whoever names a device',
    patches: [
      {
        file: 'gateway/admission/handshake.js',
        find: 'const provesItsKey = (',
        replace: 'const provesItsKey = () => null;\nconst proved = (',
      },
    ],
    proof: 'impostor',
  },
];
