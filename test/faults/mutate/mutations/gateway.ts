/** What gateways do so that nothing is lost between devices and the bus. */
import type { Mutation } from '../mutation.ts';

export const GATEWAY: readonly Mutation[] = [
  {
    name: 'hint-only',
    title: 'a worker reads its outbox on a hint and at no other time',
    patches: [
      {
        file: 'gateway/delivery/outbox-reader.js',
        find: 'void this.#subscribe();\n            this.read();\n        }, this.#parts.pollMs)',
        replace: 'void this.#subscribe();\n        }, this.#parts.pollMs)',
      },
    ],
    proof: { file: 'faults/proofs/hints-lost', test: 'a delivery that nobody hints at arrives' },
  },
  {
    name: 'beats-settle-nothing',
    title: 'a worker answers heartbeats without what is stored, and forgets it',
    patches: [
      {
        file: 'gateway/receive/device-messages.js',
        find: 'settled?.answer(at) ??',
        replace: '',
      },
    ],
    proof: {
      file: 'gateway/heartbeat',
      test: 'B-2, R-6: the answer to a beat settles what was stored since the last one, each once',
    },
  },
  {
    name: 'close-inside-cork',
    title: 'TCP stays open after the close frame of a redirect',
    patches: [
      {
        file: 'gateway/sessions/connections.js',
        find:
          'if (connection === this.#corked)\n            this.#closing = { code, reason: text };\n       ' +
          ' else\n            connection.socket.end(code, text);',
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
        file: 'gateway/receipts/spool.js',
        find: 'this.#parts.metrics.receiptsRetried++;',
        replace:
          'this.#parts.metrics.receiptsRetried++;\n' +
          '            for (const spooled of this.#batch) this.#bytes -= spooled.bytes;\n' +
          '            this.#batch = [];',
      },
    ],
    proof: {
      file: 'gateway/receipt-spool',
      test: 'a batch that was refused or failed is kept and tried again',
    },
  },
  {
    name: 'deaf-to-questions',
    title: 'a worker that is asked up to when it has heard does not answer',
    patches: [
      {
        file: 'gateway/receipts/heard-reports.js',
        find: 'onAskHeard(lease, () => void this.#reports.ask())',
        replace: 'onAskHeard(lease, () => {})',
      },
    ],
    proof: {
      file: 'gateway/heard-reports',
      test: 'a worker that is asked tells at once, of the lease that it has',
    },
  },
  {
    name: 'no-share',
    title: 'one address may have all unauthenticated sockets',
    patches: [
      { file: 'bus/unauthenticated-sockets.js', find: 'this.#holdShares(socket, address);', replace: '' },
    ],
    proof: {
      file: 'gateway/unauthenticated',
      test: 'an address has a quarter of the bound and its prefix half of it; the oldest of it go',
    },
  },
  {
    name: 'no-byte-budget',
    title: 'a device may send as many bytes as its messages hold',
    patches: [
      {
        file: 'gateway/receive/device-messages.js',
        find: 'if (connection.bytes < 0 && ',
        replace: 'if (connection.bytes < -1e12 && ',
      },
    ],
    proof: {
      file: 'gateway/byte-budget',
      test: 'F-7: a device has bytes as well as messages; results over them are kept by it, and come later',
    },
  },
];
