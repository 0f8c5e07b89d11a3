/** What the ledger does with what it hears, and with what it does not hear. */
import type { Mutation } from '../mutation.ts';

export const LEDGER: readonly Mutation[] = [
  {
    name: 'no-redelivery',
    title: 'what was sent is not sent again, whatever becomes of it',
    patches: [
      {
        file: 'admin-api/store/executions/executions.js',
        find: 'requeueSessions(rows) {',
        replace: 'requeueSessions(rows) { return Promise.resolve([]);',
      },
      {
        file: 'admin-api/store/executions/executions.js',
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
    name: 'finalizer-does-not-wait',
    title: 'clocks end executions whose receipts wait in front of the ledger',
    patches: [
      {
        file: 'admin-api/ledger/finalizer.js',
        find: "if (verdict === 'wait')\n            return null;",
        replace: "if (verdict === 'wait')\n            return endBy(clock, row);",
      },
    ],
    proof: {
      file: 'faults/proofs/receipts-wait',
      test: 'a success that waits in front of the ledger past its finish-by time counts',
    },
  },
  {
    name: 'nobody-asked',
    title: 'workers that an end waits for are not asked up to when they have heard',
    patches: [
      {
        file: 'admin-api/ledger/frontier.js',
        find: 'if (asked.length > 0)\n            await this.#parts.bus.leases.askHeard(asked);',
        replace: '',
      },
    ],
    proof: {
      file: 'admin-api/frontier',
      test: 'an end waits for the workers that may have heard more, and only they are asked',
    },
  },
  {
    name: 'waits-for-ever',
    title: 'an end waits without a bound for a worker that has a lease and appends nothing',
    patches: [
      {
        file: 'admin-api/ledger/frontier.js',
        find: 'behindSince !== null && view.takenAt',
        replace: 'false && view.takenAt',
      },
    ],
    proof: {
      file: 'admin-api/frontier',
      test: 'a worker that has a lease and appends nothing is waited for a bounded time',
    },
  },
  {
    name: 'asked-during-a-run',
    title: 'what is asked for during a run is not done after it',
    patches: [
      {
        file: 'bus/one-at-a-time.js',
        find:
          'this.#next = this.#running.then(() => {\n            this.#next = undefined;\n            ' +
          'return this.#run();\n        });\n        return this.#next;',
        replace: 'return this.#running;',
      },
    ],
    proof: {
      file: 'faults/proofs/asked-meanwhile',
      test: 'a request during a run causes another run after it',
    },
  },
  {
    name: 'wrong-receipts-stay',
    title: 'a receipt of a wrong shape is tried for ever',
    patches: [
      {
        file: 'admin-api/ledger/check-receipts.js',
        find: 'checked.wrong.push({ receipt, why: error instanceof Error ? error.message : String(error) });',
        replace: 'throw error;',
      },
    ],
    proof: {
      file: 'admin-api/wrong-receipts',
      test: 'receipts of a wrong shape are put aside once, counted and told; those beside them are applied',
    },
  },
];
