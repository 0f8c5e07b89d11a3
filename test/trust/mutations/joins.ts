/** What keeps programs from becoming a gateway of the installation, or staying one. */
import type { Patch } from '../../faults/mutate/mutation.ts';
import type { TrustMutation } from '../play-attack.ts';

const ANSWERS = 'admin-api/pki/join-answers.js';
const TOKENS = 'admin-api/store/pki/join-tokens.js';
const RING = 'admin-api/pki/gateway-key-ring.js';

const SPENT: Patch = {
  file: ANSWERS,
  find: 'const isSpent = token.usedAt !== null && (await this.#heldBy(tx, join)) === undefined;',
  replace: 'const isSpent = false;',
};

const REVOKED_KEYS: Patch = {
  file: RING,
  find: 'certificate.revokedAt ?? Number.POSITIVE_INFINITY',
  replace: 'Number.POSITIVE_INFINITY',
};
const EXPIRED_KEYS: Patch = {
  file: RING,
  find: 'Math.min(certificate.expiresAt, ',
  replace: 'Math.min(Number.POSITIVE_INFINITY, ',
};

export const JOINS: readonly TrustMutation[] = [
  {
    name: 'join-tokens-used-again',
    title: 'a join token lets in whoever has it, as often as it is used',
    patches: [{ file: TOKENS, find: 'if (row.used_by !== null) {', replace: 'if (false) {' }, SPENT],
    proof: 'join-token-reused',
  },
  {
    name: 'join-tokens-unproven',
    title: 'who names a join token may use it',
    patches: [
      {
        file: ANSWERS,
        find: '|| !holdsKey(token.publicKey, joinBytes(join.body), join.proof)',
        replace: '',
      },
    ],
    proof: 'join-token-guessed',
  },
  {
    name: 'join-tokens-never-expire',
    title: 'a join token is good for good',
    patches: [{ file: TOKENS, find: 'if (row.expires_at <= now)', replace: 'if (false)' }],
    proof: 'join-token-expired',
  },
  {
    name: 'join-tokens-for-any-name',
    title: 'a join token lets its gateway in under any name',
    patches: [{ file: ANSWERS, find: 'if (token.gateway !== gateway) {', replace: 'if (false) {' }],
    proof: 'join-token-of-another',
  },
  {
    name: 'joins-repeated',
    title: 'a request to join that comes again certifies its key again',
    patches: [SPENT],
    proof: 'replayed-join',
  },
  {
    name: 'revoked-renew',
    title: 'a certificate that was revoked may be renewed',
    patches: [
      {
        file: ANSWERS,
        find: "const over = record.revokedAt !== null ? 'was revoked' : ",
        replace: 'const over = ',
      },
    ],
    proof: 'revoked-renews',
  },
  {
    name: 'expired-renew',
    title: 'a certificate that ran out may be renewed',
    patches: [
      {
        file: ANSWERS,
        find: "record.expiresAt <= now ? 'has expired' : null;",
        replace: 'null;',
      },
    ],
    proof: 'expired-renews',
  },
  {
    name: 'join-answers-of-anyone',
    title: 'a gateway joins whatever installation answers',
    patches: [
      {
        file: 'gateway/joining/join-answer.js',
        find: 'const isOurs = (root) => fingerprintOf({ root }).equals(fingerprint);',
        replace: 'const isOurs = () => true;',
      },
    ],
    proof: 'join-answered',
  },
  {
    name: 'revoked-believed',
    title: 'entries of a gateway are good after it was revoked',
    patches: [REVOKED_KEYS],
    proof: 'revoked-claims',
  },
  {
    name: 'ids-believed',
    title: 'the ids of entries say when Redis took them',
    patches: [
      {
        file: 'bus/redis/receipt-stream.js',
        find: 'return Math.max(this.#newest, ',
        replace: 'return Math.max(0, ',
      },
    ],
    proof: 'revoked-claims-late',
  },
  {
    name: 'revoked-registered',
    title: 'the same, and its leases are not ended',
    patches: [
      REVOKED_KEYS,
      {
        file: 'admin-api/live-workers.js',
        find: 'const revoked = leases.filter(({ identity }) => this.isRevoked(identity.gateway));',
        replace: 'const revoked = [];',
      },
    ],
    proof: 'revoked-registers',
  },
  {
    name: 'expired-believed',
    title: 'entries of a gateway are good after its certificate ran out',
    patches: [EXPIRED_KEYS],
    proof: 'expired-claims',
  },
];
