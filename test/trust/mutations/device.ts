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
    proof: 'outbox-close-4402',
  },
  {
    name: 'orders-unverified',
    title: 'a device obeys orders whoever signed them',
    patches: [
      {
        file: ORDERS,
        find: 'if (!(await this.#crypto.verify(',
        replace: 'if (false && !(await this.#crypto.verify(',
      },
    ],
    proof: 'forged-command',
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
    proof: 'replayed-command',
  },
  {
    name: 'any-device-targeted',
    title: 'a device obeys orders for other devices',
    patches: [
      {
        file: ORDERS,
        find: 'return target.device === this.#identity.deviceId;',
        replace: 'return true;',
      },
    ],
    proof: 'command-of-another-device',
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
    proof: 'command-of-another-group',
  },
];
