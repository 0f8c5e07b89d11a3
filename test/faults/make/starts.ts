/** Programs that are started before what they need, ended while they start, or have no room for their log. */
import { setTimeout as pause } from 'node:timers/promises';
import type { ProgramName } from '../deployment.ts';
import type { Fault, Times } from '../fault.ts';
import type { World } from '../world.ts';

/** Nothing but the devices runs; then the programs are started, and then what they need. */
export function startedTooEarly(times: Times): Fault {
  return {
    name: 'programs started before their Redis and database',
    to: 'redis',
    async begin({ deployment }) {
      await Promise.all(deployment.programs.map((name) => deployment.program(name).killGroup()));
      await deployment.redis.kill();
      if (deployment.shape.store === 'postgres') await deployment.postgres.kill();
      for (const name of deployment.programs) await deployment.launch(name);
    },
    async end(world) {
      const ended = world.deployment.programs.filter((name) => !world.deployment.program(name).running);
      await world.deployment.redis.restart();
      if (world.deployment.shape.store === 'postgres') await world.deployment.postgres.restart();
      if (ended.length > 0) {
        await Promise.all(ended.map((name) => world.deployment.startProgram(name)));
        throw new Error(`${ended.join(' and ')} ended instead of waiting`);
      }
      await Promise.all(world.deployment.programs.map((name) => world.deployment.serves(name)));
    },
    holdMs: times.stopped,
  };
}

const STARTS = 4;
const LONGEST_START_MS = 2_500;
const STOP_LIMIT_MS = 30_000;

/** Asked to stop at some moment of its start: it must be gone within its deadline. */
export function stoppedWhileStarting(name: ProgramName): Fault {
  return {
    name: `${name} asked to stop while it starts`,
    to: name,
    async begin({ deployment }, random) {
      await deployment.program(name).stop();
      for (let n = 0; n < STARTS; n++) {
        const program = await deployment.launch(name);
        await pause(random.next() * LONGEST_START_MS);
        const asked = performance.now();
        await program.stop(STOP_LIMIT_MS);
        if (performance.now() - asked >= STOP_LIMIT_MS) throw new Error(`${name} did not stop`);
      }
    },
    end: (world) => world.deployment.startProgram(name),
    endsLast: true,
    holdMs: 0,
  };
}

/**
 * They go on serving; a program that reads nothing but a full disk for its log loses lines and nothing else.
 */
export function logDiskFull(times: Times): Fault {
  const each = async (world: World, work: (name: ProgramName) => Promise<void>) => {
    for (const name of world.deployment.programs) await work(name);
  };
  return {
    name: 'no room for any log',
    to: 'disk',
    begin: (world) =>
      each(world, async (name) => {
        await world.deployment.launch(name, { stderr: '/dev/full' });
        await world.deployment.serves(name);
      }),
    end: (world) => each(world, (name) => world.deployment.startProgram(name)),
    holdMs: times.slow,
    survivable: true,
  };
}

/** Certificates and log files are read again; nothing else happens. */
export function hungUp(): Fault {
  return {
    name: 'SIGHUP to every program',
    to: 'links',
    begin: ({ deployment }) => {
      for (const name of deployment.programs) process.kill(deployment.program(name).pid, 'SIGHUP');
    },
    holdMs: 2_000,
    survivable: true,
    keepsSockets: true,
  };
}
