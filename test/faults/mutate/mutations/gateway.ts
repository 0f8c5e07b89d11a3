/** What gateways do so that nothing is lost between devices and the bus. */
import type { Mutation } from '../mutation.ts';

export const GATEWAY: readonly Mutation[] = [
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
    name: 'close-inside-cork',
    title: 'TCP stays open after the close frame of a redirect',
    patches: [
      {
        file: 'gateway/connections.js',
        find: 'if (connection === this.#corked)\n            this.#closing = { code, reason: text };\n        else\n            connection.socket.end(code, text);',
        replace: 'connection.socket.end(code, text);',
      },
    ],
    proof: {
      file: 'gateway/closing',
      test: 'C-6: the gateway ends TCP right after its close frame: drain',
    },
  },
  {
    name: 'no-spool-retry',
    title: 'receipts whose append failed are dropped',
    patches: [
      {
        file: 'gateway/receipt-spool.js',
        find: 'this.#metrics.receiptsRetried++;',
        replace:
          'this.#metrics.receiptsRetried++;\n            for (const spooled of this.#batch) this.#bytes -= spooled.bytes;\n            this.#batch = [];',
      },
    ],
    proof: {
      file: 'gateway/receipt-spool',
      test: 'a batch that was refused or failed is kept and tried again',
    },
  },
];
