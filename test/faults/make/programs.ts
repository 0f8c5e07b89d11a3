/** Programs that die, stand still, or tell the wrong time. */

import type { ProgramName } from '../deployment.ts';
import type { Fault, Times } from '../fault.ts';
import { childrenOf, signalOne, signalTree } from '../process-tree.ts';
import type { World } from '../world.ts';

const HOUR_MS = 3_600_000;

async function workerOf(world: World, gateway: ProgramName): Promise<number> {
  const [worker] = await childrenOf(world.deployment.program(gateway).pid);
  if (worker === undefined) throw new Error(`${gateway} has no worker process`);
  return worker;
}

/** With everything that belongs to it, and started again later, as a machine would be. */
export function killed(program: ProgramName, times: Times, survivable = false): Fault {
  return {
    name: `${program} killed`,
    to: program,
    begin: (world) => world.deployment.program(program).killGroup(),
    // It starts only where it reaches what it needs.
    end: (world) => world.deployment.startProgram(program),
    endsLast: true,
    holdMs: times.dead,
    survivable,
  };
}

/** One of two workers; its supervisor starts another. */
export function workerKilled(gateway: ProgramName): Fault {
  return {
    name: `a worker of ${gateway} killed`,
    to: gateway,
    begin: async (world) => signalOne(await workerOf(world, gateway), 'SIGKILL'),
    holdMs: 0,
  };
}

/** The supervisor alone dies; whatever becomes of its workers, the gateway is started again. */
export function supervisorKilled(gateway: ProgramName, times: Times): Fault {
  return {
    name: `the supervisor of ${gateway} killed`,
    to: gateway,
    begin: (world) => signalOne(world.deployment.program(gateway).pid, 'SIGKILL'),
    end: (world) => world.deployment.startProgram(gateway),
    endsLast: true,
    holdMs: times.dead,
  };
}

/** Everything of a program. */
export function stopped(program: ProgramName, times: Times, survivable = false): Fault {
  return {
    name: `${program} stopped`,
    to: program,
    begin: (world) => signalTree(world.deployment.program(program).pid, 'SIGSTOP'),
    end: (world) => signalTree(world.deployment.program(program).pid, 'SIGCONT'),
    holdMs: times.stopped,
    survivable,
  };
}

export function workerStopped(gateway: ProgramName, times: Times): Fault {
  let worker = 0;
  return {
    name: `a worker of ${gateway} stopped`,
    to: gateway,
    async begin(world) {
      worker = await workerOf(world, gateway);
      signalOne(worker, 'SIGSTOP');
    },
    end: () => signalOne(worker, 'SIGCONT'),
    holdMs: times.stopped,
  };
}

/** The workers go on. */
export function supervisorStopped(gateway: ProgramName, times: Times): Fault {
  return {
    name: `the supervisor of ${gateway} stopped`,
    to: gateway,
    begin: (world) => signalOne(world.deployment.program(gateway).pid, 'SIGSTOP'),
    end: (world) => signalOne(world.deployment.program(gateway).pid, 'SIGCONT'),
    holdMs: times.stopped,
    survivable: true,
    keepsSockets: true,
  };
}

/** A process with a fifth of all devices, each of which finds its state again. */
export function devicesKilled(times: Times): Fault {
  return {
    name: 'devices killed',
    to: 'devices',
    begin: (world) => world.fleet.kill(world.keptProcess),
    end: (world) => world.fleet.revive(world.keptProcess),
    holdMs: times.dead,
  };
}

export function devicesStopped(times: Times): Fault {
  return {
    name: 'devices stopped',
    to: 'devices',
    begin: (world) => world.keptProcess.signal('SIGSTOP'),
    end: (world) => world.keptProcess.signal('SIGCONT'),
    holdMs: times.stopped,
  };
}

/** A program whose clock is wrong for as long as the fault lasts, by hours. */
export function clockOff(name: ProgramName, hours: number, times: Times): Fault {
  return {
    ...clockSteps(name, 1, times),
    name: `the clock of ${name} ${Math.abs(hours)} hours ${hours > 0 ? 'ahead' : 'behind'}`,
    begin: (world) => world.deployment.shiftClock(name, hours * HOUR_MS),
  };
}

/**
 * A program, or `devices` or `kept-devices`, whose wall clock steps. It steps back at the end, which is a
 * step too.
 */
export function clockSteps(name: ProgramName | 'devices', hours: 1 | -1, times: Times): Fault {
  return {
    name: `the clock of ${name} steps an hour ${hours > 0 ? 'forward' : 'back'}`,
    to: name,
    begin: (world) => world.deployment.shiftClock(name, hours * HOUR_MS),
    end: (world) => world.deployment.shiftClock(name, 0),
    holdMs: times.slow,
    survivable: true,
    misdates: true,
  };
}
