/** What keeps a device from obeying whoever carries its messages. */
import type { TrustMutation } from '../play-attack.ts';

const ORDERS = 'device/executions/orders.js';

export const DEVICE: readonly TrustMutation[] = [
  {
    name: 'close-codes-end-devices',
    title: 'a close code from 4400 to 4599 keeps a device away for good',
    patches: [
      {
        file: 'device/connection/uplink.js',
        find: "this.#leaving = false;\n        if (this.#standing === 'gone') {",
        replace: "this.#leaving = false;\n        if (next.advice === 'slow') {",
      },
    ],
    proof: 'gateway-close-4404-at-welcome',
  },
  {
    name: 'orders-unverified',
    title: 'a device obeys orders whoever signed them',
    patches: [
      {
        file: ORDERS,
        find: 'if (!(await this.#parts.trusted.verify(',
        replace: 'if (false && !(await this.#parts.trusted.verify(',
      },
    ],
    proof: 'forged-command-by-gateway',
  },
  {
    name: 'no-dedupe',
    title: 'a device runs whatever is delivered to it',
    patches: [
      {
        file: 'device/executions/executions.js',
        find: 'return this.#again(known, order);',
        replace: 'this.#book.drop(id);',
      },
    ],
    proof: 'replayed-command-by-gateway',
  },
  {
    name: 'any-device-targeted',
    title: 'a device obeys orders for other devices',
    patches: [
      {
        file: ORDERS,
        find: 'return target.device === this.#parts.deviceId;',
        replace: 'return true;',
      },
    ],
    proof: 'command-of-another-device-by-gateway',
  },
  {
    name: 'any-group-targeted',
    title: 'a device obeys orders for groups that it is not in',
    patches: [
      {
        file: ORDERS,
        find: 'return this.#membership?.groups.includes(target.group) ?? false;',
        replace: 'return true;',
      },
    ],
    proof: 'command-of-another-group-by-gateway',
  },
  {
    name: 'old-memberships',
    title: 'a device takes memberships that are older than its own',
    patches: [
      {
        file: ORDERS,
        find: 'isList ? this.listEdition : this.edition;',
        replace: 'isList ? this.listEdition : NO_EDITION;',
      },
    ],
    proof: 'replayed-block-by-gateway',
  },
  {
    name: 'lists-unverified',
    title: 'a device takes lists of gateways whoever signed them',
    patches: [
      {
        file: ORDERS,
        find: 'if (!(await this.#parts.trusted.verify(',
        replace:
          "if (decodeOrderBody(order.body)?.kind !== 'gateways' && !(await this.#parts.trusted.verify(",
      },
    ],
    proof: 'forged-list-by-gateway',
  },
  {
    name: 'old-lists',
    title: 'a device takes lists of gateways that are older than its own',
    patches: [
      {
        file: ORDERS,
        find: 'isList ? this.listEdition : this.edition;',
        replace: 'isList ? NO_EDITION : this.edition;',
      },
    ],
    proof: 'replayed-list-by-gateway',
  },
  {
    name: 'lists-of-any-group',
    title: 'a device takes lists of gateways for other groups than its own',
    patches: [{ file: ORDERS, find: 'return target.group === this.#group;', replace: 'return true;' }],
    proof: 'list-of-another-group-by-gateway',
  },
  {
    name: 'addresses-in-redirects',
    title: 'a device goes to the addresses that a gateway says',
    patches: [
      {
        file: 'protocol/codec.js',
        find: '(name) => id({ [key]: name }, key));',
        replace: '(name) => name);',
      },
      {
        file: 'device/gateways/choice.js',
        find: 'return names.flatMap((name) => ',
        replace: 'return names.flatMap((name) => name.url ? [name] : ',
      },
    ],
    proof: 'redirect-to-a-foreign-address',
  },
  {
    name: 'epochs-not-compared',
    title: 'the revision alone says which membership is newer',
    patches: [
      {
        file: 'protocol/editions.js',
        find: 'return epoch > than[0] || (epoch === than[0] && revision > than[1]);',
        replace: 'return revision > than[1];',
      },
    ],
    proof: 'membership-of-an-earlier-epoch-by-gateway',
  },
  {
    name: 'expired-run',
    title: 'a device runs commands that have expired',
    patches: [{ file: ORDERS, find: 'if (this.#parts.clock.now() > body.expiresAt)', replace: 'if (false)' }],
    proof: 'withheld-then-late',
  },
  {
    name: 'no-floor',
    title: 'a device believes any time that a gateway tells',
    patches: [
      {
        file: 'device/executions/server-clock.js',
        find: 'return Math.max(this.#told(), this.#floor);',
        replace: 'return this.#told();',
      },
    ],
    proof: 'late-and-lying',
  },
  {
    name: 'locations-unverified',
    title: 'a device goes where any answer says',
    patches: [
      {
        file: 'device/gateways/locate.js',
        find: 'if (!(await trusted.verify(',
        replace: 'if (false && !(await trusted.verify(',
      },
    ],
    proof: 'replayed-location',
  },
  {
    name: 'locations-of-any-question',
    title: 'the answer to where to go is signed without the question',
    patches: [
      {
        file: 'protocol/signing.js',
        find: 'export function locatedBytes(nonce, device, gateways, list = new Uint8Array()) {\n',
        replace:
          'export function locatedBytes(nonce, device, gateways, list = new Uint8Array()) {\n' +
          '    nonce = new Uint8Array(0);\n',
      },
    ],
    proof: 'replayed-location',
  },
  {
    name: 'forgets-by-any-time',
    title: 'a device forgets commands when a gateway says that they have expired',
    patches: [
      {
        file: 'device/executions/book.js',
        find: 'async sweep() {\n        const issuedAt = this.#clock.floor;',
        replace: 'async sweep() {\n        const issuedAt = this.#clock.now();',
      },
    ],
    proof: 'time-ahead-and-again',
  },
  {
    name: 'settled-stops-work',
    title: 'a device stops what runs when a gateway says that it is settled',
    patches: [
      {
        file: 'device/executions/executions.js',
        find: "if (entry?.record.state !== 'finished')\n            return;",
        replace:
          "if (entry?.record.state !== 'finished')\n" +
          "            return entry && this.#runs.abort(entry, 'canceled');",
      },
    ],
    proof: 'forged-settled',
  },
];
