/** What keeps ends that no device made out of the ledger. */
import type { Patch } from '../../faults/mutate/mutation.ts';
import type { TrustMutation } from '../play-attack.ts';

const SIGNING = 'protocol/signing.js';
const INTO = 'into';
const RESULT_BYTES = `export function resultBytes(device, command, body, ${INTO}) {\n`;
const STATUS_BYTES = `export function statusBytes(device, body, ${INTO}) {\n`;
const SECRET_BYTES = `export function deviceSecretBytes(device, generation, ${INTO}) {\n`;

const OLD_KEYS_SERVE: Patch = {
  file: 'admin-api/keys/server-keys.js',
  find: 'if (!followed || isAfter(this.keys, followed.keys))',
  replace: 'if (true)',
};

export const LEDGER: readonly TrustMutation[] = [
  {
    name: 'results-unchecked',
    title: 'the ledger takes results whoever made them',
    patches: [
      {
        file: 'admin-api/device-secrets.js',
        find: 'made(report, generation) {\n',
        replace: 'made(report, generation) {\n        return true;\n',
      },
    ],
    proof: 'forged-result-by-gateway',
  },
  {
    name: 'statuses-unchecked',
    title: 'the ledger takes what devices are said to say of themselves, whoever made it',
    patches: [
      {
        file: 'admin-api/device-secrets.js',
        find: 'made(report, generation) {\n',
        replace: 'made(report, generation) {\n        if (report.command === undefined) return true;\n',
      },
    ],
    proof: 'forged-status-by-gateway',
  },
  {
    name: 'statuses-of-any-device',
    title: 'what seals a status is the same for all devices',
    patches: [
      { file: SIGNING, find: SECRET_BYTES, replace: `${SECRET_BYTES}    device = '';\n` },
      { file: SIGNING, find: STATUS_BYTES, replace: `${STATUS_BYTES}    device = '';\n` },
    ],
    proof: 'status-of-another-device',
  },
  {
    name: 'status-bodies-not-sealed',
    title: 'a status is sealed without its body',
    patches: [
      { file: SIGNING, find: STATUS_BYTES, replace: `${STATUS_BYTES}    body = new Uint8Array(0);\n` },
    ],
    proof: 'changed-status',
  },
  {
    name: 'one-secret-for-all',
    title: 'the key of the MAC of results is the same for all devices',
    patches: [
      { file: SIGNING, find: SECRET_BYTES, replace: `${SECRET_BYTES}    device = '';\n` },
      { file: SIGNING, find: RESULT_BYTES, replace: `${RESULT_BYTES}    device = '';\n` },
    ],
    proof: 'result-of-another-device',
  },
  {
    name: 'results-of-any-command',
    title: 'the MAC of a result leaves out its command',
    patches: [{ file: SIGNING, find: RESULT_BYTES, replace: `${RESULT_BYTES}    command = '';\n` }],
    proof: 'result-of-another-command',
  },
  {
    name: 'bodies-without-mac',
    title: 'the MAC of a result leaves out its body',
    patches: [
      { file: SIGNING, find: RESULT_BYTES, replace: `${RESULT_BYTES}    body = new Uint8Array(0);\n` },
    ],
    proof: 'swapped-bodies',
  },
  {
    name: 'secrets-of-before',
    title: 'the ledger takes results that an earlier secret of the device authenticated',
    patches: [
      {
        file: 'admin-api/ledger/report-verifier.js',
        find: 'this.#secrets.made(receipt, generation))\n            return generation;',
        replace: 'this.#secrets.made(receipt, 1))\n            return generation;',
      },
    ],
    proof: 'result-of-an-earlier-secret',
  },
  {
    name: 'runs-after-each-other',
    title: 'two runs of a program that follow each other make a clone',
    patches: [
      {
        file: 'admin-api/ledger/copies.js',
        find: 'if (now - upMs + MARGIN_MS >= copies.since)',
        replace: 'if (false)',
      },
    ],
    proof: 'false-clone',
  },
  {
    name: 'old-databases-serve',
    title: 'a server works on a database of an earlier epoch than was seen, and of earlier keys',
    patches: [
      {
        file: 'bus/redis/owner.js',
        find: 'if (held.epoch <= own.epoch)\n            return false;',
        replace: 'return false;',
      },
      OLD_KEYS_SERVE,
    ],
    proof: 'old-database',
  },
  {
    name: 'old-keys-serve',
    title: 'a server works on a database of earlier server keys than gateways carry',
    patches: [OLD_KEYS_SERVE],
    proof: 'old-database-and-keys',
  },
  {
    name: 'epochs-without-mac',
    title: 'a server believes the epoch that is written in Redis',
    patches: [
      {
        file: 'bus/redis/owner.js',
        find: 'if (this.#epochMac === null || this.#epochMac.of(held) === held.seal)',
        replace: 'if (this.#epochMac === null || held.seal)',
      },
    ],
    proof: 'raised-epoch',
  },
];
