/** What a device does so that a command runs once and it finds a gateway. */
import type { Mutation } from '../mutation.ts';

export const DEVICE: readonly Mutation[] = [
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
    proof: {
      file: 'faults/proofs/delivered-twice',
      test: 'a command that is delivered again does not run again',
    },
  },
  {
    name: 'no-older-addresses',
    title: 'a new list of gateways replaces the older one at once',
    patches: [
      {
        file: 'device/gateways/choice.js',
        find: 'this.#older = before.filter(({ url }) => !listed.has(url)).slice(0, MAX_OLDER);',
        replace: 'this.#older = [];',
      },
    ],
    proof: {
      file: 'device/reconnect',
      test: 'G-1: older addresses stay behind a new list until a gateway of it has admitted the device',
    },
  },
  {
    name: 'moves-back-off',
    title: 'a device that is told where to go backs off before it goes',
    patches: [
      {
        file: 'device/connection/reconnect.js',
        find: "if (advice === 'now' && this.#mayHurry())",
        replace: "if (advice === 'now' && this.#mayHurry() && false)",
      },
    ],
    proof: {
      file: 'device/reconnect',
      test: 'C-4: a redirected device goes at once, however short its sessions; only failures back off',
    },
  },
  {
    name: 'no-locate',
    title: 'a device that finds no gateway asks nobody where to go',
    patches: [
      {
        file: 'device/connection/uplink.js',
        find: 'async #ask() {\n',
        replace: 'async #ask() {\n        if (this.#asking === null)\n            return;\n',
      },
    ],
    proof: {
      file: 'device/locate',
      test: 'G-16: after ten attempts that lead nowhere a device asks where to go, and goes there',
    },
  },
  {
    name: 'list-order',
    title: 'after a loss a device dials in the order of its list, whatever it measured',
    patches: [
      {
        file: 'device/gateways/nearness.js',
        find: 'return [...gateways].sort((a, b) => place(a) - place(b));',
        replace: 'void place;\n        return [...gateways];',
      },
    ],
    proof: {
      file: 'device/gateway-probe',
      test: 'G-2, G-11: a device that loses its gateway dials the others in the order of its measurements',
    },
  },
  {
    name: 'no-probe-when-away',
    title: 'a device that is not at its nearest gateway probes no sooner than others',
    patches: [
      {
        file: 'device/gateways/watch.js',
        find: 'const pauseMs = soon ? this.#soonMs(standing) : ',
        replace: 'const pauseMs = ',
      },
    ],
    proof: {
      file: 'device/gateway-probe',
      test: 'G-10: the next round comes within 2 minutes if not at the nearest, 10 if one was never probed',
    },
  },
  {
    name: 'no-end-kept',
    title: 'a device forgets how a settled command ended',
    patches: [
      {
        file: 'device/executions/executions.js',
        find: "this.#reportQueue.sayOnce({ t: 'end', id, outcome: end });",
        replace: 'void id;',
      },
    ],
    proof: {
      file: 'device/executions',
      test: 'D-4: a second delivery is acknowledged but not run; once settled, it gets the result',
    },
  },
  {
    name: 'interrupted-runs-again',
    title: 'what was running at a crash runs again, whether that is harmless or not',
    patches: [
      {
        file: 'device/executions/executions.js',
        find: "changes.push(this.#finish(entry, outcome('failed', 'interrupted')));",
        replace: 'void outcome;',
      },
    ],
    proof: {
      file: 'device/executions',
      test: 'D-7: a command interrupted by a crash is reported failed, and does not run again',
    },
  },
  {
    name: 'end-before-stored',
    title: 'a device that connects again reports an end that it has not stored yet',
    patches: [
      {
        file: 'device/executions/executions.js',
        find: '|| !record || entry.storing)',
        replace: '|| !record)',
      },
    ],
    proof: { file: 'device/executions', test: 'R-3: a result is remembered before it is sent' },
  },
  {
    name: 'no-task-records',
    title: 'an agent does not remember which programs it runs',
    patches: [
      {
        file: 'device/agent/task-records.js',
        find: 'for (const record of read(this.#path))\n            this.#records.set(record.run, record);',
        replace: '',
      },
    ],
    proof: {
      file: 'device/agent-tasks',
      test: 'D-7: the next agent ends a task of a killed one; until then the task is already running',
    },
  },
];
