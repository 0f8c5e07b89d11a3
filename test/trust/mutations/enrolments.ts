/** What keeps those who carry an enrolment from taking part in it. */
import type { TrustMutation } from '../play-attack.ts';

const MESSAGES = 'device/enrolment-messages.js';
const SIGNING = 'protocol/signing.js';
const ENROL_BYTES = 'export function enrolBytes(body) {\n';
const REFUSED_BYTES = 'export function refusedBytes(request, code, detail) {\n';

export const ENROLMENTS: readonly TrustMutation[] = [
  {
    name: 'any-installation-enrols',
    title: 'a device enrols at whatever installation answers',
    patches: [
      {
        file: MESSAGES,
        find: 'toBase64url(await crypto.sha256(root)) === toBase64url(fingerprint);',
        replace: 'true;',
      },
    ],
    proof: 'enrolment-answered',
  },
  {
    name: 'answers-unsigned',
    title: 'a device believes answers to its enrolment whoever signed them',
    patches: [
      {
        file: MESSAGES,
        find: 'if (!(await isSignedBy(keys, enrolledBytes(hash, body)',
        replace: 'if (false && !(await isSignedBy(keys, enrolledBytes(hash, body)',
      },
    ],
    proof: 'enrolment-answer-changed',
  },
  {
    name: 'refusals-unsigned',
    title: 'a device gives its enrolment up whoever refuses it',
    patches: [
      {
        file: MESSAGES,
        find: 'if (!(await isSignedBy(keys, refusedBytes(',
        replace: 'if (false && !(await isSignedBy(keys, refusedBytes(',
      },
    ],
    proof: 'enrolment-refused',
  },
  {
    name: 'refusals-of-any-request',
    title: 'a refusal is signed without its request',
    patches: [
      {
        file: SIGNING,
        find: REFUSED_BYTES,
        replace: `${REFUSED_BYTES}    request = new Uint8Array(0);\n`,
      },
    ],
    proof: 'replayed-refusal',
  },
  {
    name: 'tokens-unproven',
    title: 'who names an enrolment token may use it',
    patches: [
      {
        file: 'admin-api/services/enrolment-service.js',
        find: 'if (token.publicKey === null || !holdsKey(token.publicKey, bytes, tokenSig)) {',
        replace: 'if (token.publicKey === null) {',
      },
    ],
    proof: 'enrolment-in-anothers-place',
  },
  {
    name: 'requests-not-signed',
    title: 'a request to enrol is signed without its body',
    patches: [{ file: SIGNING, find: ENROL_BYTES, replace: `${ENROL_BYTES}    body = new Uint8Array(0);\n` }],
    proof: 'enrolment-request-changed',
  },
];
