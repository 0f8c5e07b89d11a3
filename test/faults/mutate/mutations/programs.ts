/** How programs start, stop and write their logs. */
import type { Mutation } from '../mutation.ts';

export const PROGRAMS: readonly Mutation[] = [
  {
    name: 'start-outlives-stop',
    title: 'a stop does not wait for what is still starting',
    patches: [
      {
        file: 'cli/programs/lifecycle.js',
        find:
          'await part.stop();\n                // Only the first of them can still be starting; the ' +
          'parts below keep serving it until it has ended.\n                await this.#starting;',
        replace: 'await part.stop();',
      },
    ],
    proof: {
      file: 'cli/lifecycle',
      test: 'a stop waits for parts that are starting or that their start creates later',
    },
  },
  {
    name: 'no-room-for-the-log',
    title: 'a line of the log that cannot be written ends its program',
    patches: [
      {
        file: 'cli/programs/log-sink.js',
        find: 'if (done > 0)\n                this.#torn = true;\n            this.#drop();',
        replace: 'throw error;',
      },
    ],
    proof: {
      file: 'cli/log-room',
      test: 'with a full disk under the log everything serves on and stops in order',
    },
  },
  {
    name: 'no-waiting',
    title: 'a program that is started before its database or Redis ends',
    patches: [
      {
        file: 'cli/programs/waiting-room.js',
        find: 'if (!names.includes(error.name) || this.#life.signal.aborted)',
        replace: 'if (names)',
      },
    ],
    proof: {
      file: 'cli/waiting',
      test: 'programs started before Redis and PostgreSQL are live but not ready until both are up',
    },
  },
];
