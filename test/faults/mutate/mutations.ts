/**
 * Mechanisms of recovery, each switched off on purpose, and the proof that notices it: a test made for that mechanism. What is
 * patched is a copy of the compiled program: nothing that can be configured switches these off.
 */

export interface Patch {
  /** Below `dist/`. */
  file: string;
  /** Must be there exactly once. */
  find: string;
  replace: string;
}

export interface Mutation {
  name: string;
  /** What is missing then. */
  title: string;
  patches: readonly Patch[];
  /** A test by its file below `test/`, without `.test.ts`, and its title; it holds with the mechanism and fails without. */
  proof: { file: string; test: string };
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'hint-only',
    title: 'a worker reads its outbox on a hint and at no other time',
    patches: [
      {
        file: 'gateway/outbox-reader.js',
        find: 'void this.#subscribe();\n            this.read();\n        }, this.#pollMs)',
        replace: 'void this.#subscribe();\n        }, this.#pollMs)',
      },
    ],
    proof: { file: 'faults/proofs/hints-lost', test: 'a delivery that nobody hints at arrives' },
  },
  {
    name: 'no-release-compare',
    title: 'whoever closes a connection last removes the device',
    patches: [
      {
        file: 'bus/redis/scripts/release-presence.js',
        find: "if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then",
        replace: 'if true then',
      },
    ],
    proof: {
      file: 'faults/proofs/late-sessions',
      test: 'a connection that closes late does not remove the newer session from presence',
    },
  },
  {
    name: 'no-claim-compare',
    title: 'whoever claims a device last has it',
    patches: [
      {
        file: 'bus/redis/scripts/claim-presence.js',
        find: 'if not (held and holder and tonumber(previousSession) > held) then',
        replace: 'if true then',
      },
    ],
    proof: {
      file: 'faults/proofs/late-sessions',
      test: 'a gateway that claims its sessions again does not take those that are newer elsewhere',
    },
  },
  {
    name: 'no-redelivery',
    title: 'what was sent is not sent again, whatever becomes of it',
    patches: [
      {
        file: 'admin-api/store/executions.js',
        find: 'requeueSessions(rows) {',
        replace: 'requeueSessions(rows) { return Promise.resolve([]);',
      },
      {
        file: 'admin-api/store/executions.js',
        find: '#requeueKeys(db, rows, condition) {',
        replace: '#requeueKeys(db, rows, condition) { return Promise.resolve([]);',
      },
    ],
    proof: {
      file: 'faults/proofs/redelivery',
      test: 'a command that was sent and never acknowledged is sent again when the device is back',
    },
  },
  {
    name: 'no-dedupe',
    title: 'a device runs whatever is delivered to it',
    patches: [
      {
        file: 'device/executions.js',
        find: 'return this.#again(known, order);',
        replace: 'this.#book.drop(id);',
      },
    ],
    proof: {
      file: 'faults/proofs/delivered-twice',
      test: 'a command that is delivered again does not run again',
    },
  },
];
