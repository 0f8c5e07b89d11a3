/** What Redis holds: presence, and the directory. */
import type { Mutation } from '../mutation.ts';

export const BUS: readonly Mutation[] = [
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
        find: 'if not (held and previous and tonumber(previousSession) > held) then',
        replace: 'if true then',
      },
    ],
    proof: {
      file: 'faults/proofs/late-sessions',
      test: 'a gateway that claims its sessions again does not take those that are newer elsewhere',
    },
  },
  {
    name: 'half-directory',
    title: 'a directory counts as whole although it was wiped while it was written',
    patches: [
      {
        file: 'bus/redis/scripts/write-directory.js',
        find: 'if writing ~= ARGV[2] or not state[3] then return 0 end',
        replace: "writing = ARGV[2]\n  state[3] = state[3] or '0 0 0 0 0'",
      },
    ],
    proof: {
      file: 'faults/proofs/directory-wiped',
      test: 'a directory that was wiped while it was written is not whole',
    },
  },
  {
    name: 'no-directory-count',
    title: 'nobody counts what is in the directory',
    patches: [
      { file: 'bus/redis/directory-shard.js', find: 'if (devices !== counts.count)', replace: 'if (false)' },
    ],
    proof: {
      file: 'faults/proofs/directory-wiped',
      test: 'a directory of which a part is missing is not whole',
    },
  },
  {
    name: 'no-owner',
    title: 'a server takes a Redis that serves another installation',
    patches: [
      {
        file: 'bus/redis/scripts/hold-installation.js',
        find: "if ARGV[4] == '0' or not gone then return result end",
        replace: 'gone = true',
      },
    ],
    proof: {
      file: 'faults/proofs/directory-wiped',
      test: 'a Redis that serves an installation is not taken by another',
    },
  },
  {
    name: 'own-clock',
    title: "a process goes by its own machine's clock",
    patches: [
      {
        file: 'bus/clock.js',
        find: 'if (best === null)\n            return Date.now();\n        const now',
        replace: 'if (best !== undefined)\n            return Date.now();\n        const now',
      },
    ],
    proof: {
      file: 'bus/measured-clock',
      test: 'a process whose own clock is changed still has the time of the others',
    },
  },
  {
    name: 'no-owner-look',
    title: 'programs go on with a Redis that belongs to another installation now',
    patches: [{ file: 'bus/redis/owner.js', find: 'if (problem !== null)', replace: 'if (false)' }],
    proof: {
      file: 'bus/redis-directory',
      test: 'a displaced server leaves Redis alone and says so, and takes it back once the other is gone',
    },
  },
  {
    name: 'no-vouching',
    title: 'devices are turned away for good by a directory that nobody looks after',
    patches: [
      {
        file: 'bus/redis/directory.js',
        find: 'await this.#assertSure(unsure);',
        replace: 'void unsure;',
      },
    ],
    proof: {
      file: 'bus/redis-directory',
      test: 'devices are missing or blocked for good only by a directory that a server looks after now',
    },
  },
];
