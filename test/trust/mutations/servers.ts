/** What keeps programs from becoming an administration server of the installation. */
import type { TrustMutation } from '../play-attack.ts';

const ANSWERS = 'admin-api/pki/join-answers.js';

export const SERVERS: readonly TrustMutation[] = [
  {
    name: 'join-tokens-of-a-key',
    title: 'a join token is for a key, whose answer may be sealed to anybody',
    patches: [
      {
        file: ANSWERS,
        find: "tx.joinTokens.use(id, Buffer.from(join.id, 'hex'), ",
        replace: 'tx.joinTokens.use(id, join.csr.keyHash, ',
      },
    ],
    proof: 'server-token-resealed',
  },
  {
    name: 'gateway-tokens-for-servers',
    title: 'a join token of a gateway lets a server in',
    patches: [{ file: ANSWERS, find: 'if (token.gateway !== gateway) {', replace: 'if (false) {' }],
    proof: 'gateway-token-as-server',
  },
  {
    name: 'renewed-under-any-name',
    title: 'a certificate is renewed under whatever name',
    patches: [{ file: ANSWERS, find: 'if (record.gateway !== gateway) {', replace: 'if (false) {' }],
    proof: 'gateway-renews-as-server',
  },
  {
    name: 'server-answers-of-anyone',
    title: 'a server joins whatever installation answers',
    patches: [
      {
        file: 'gateway/joining/join-answer.js',
        find: 'const isOurs = (root) => fingerprintOf({ root }).equals(fingerprint);',
        replace: 'const isOurs = () => true;',
      },
    ],
    proof: 'server-join-answered',
  },
];
