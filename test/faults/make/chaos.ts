/** Whatever runs is killed, at random, again and again. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Fault, Times } from '../fault.ts';
import { childrenOf, signalOne } from '../process-tree.ts';
import type { Random } from '../random.ts';
import type { World } from '../world.ts';

const EVERY_MS: [number, number] = [1_500, 5_000];

export function killedAtRandom(times: Times): Fault {
  return {
    name: 'everything killed at random',
    to: 'redis',
    traffic: 'short',
    async begin(world, random) {
      const until = performance.now() + times.killing;
      while (performance.now() < until) {
        await killSomething(world, random);
        await pause(EVERY_MS[0] + random.next() * (EVERY_MS[1] - EVERY_MS[0]));
      }
    },
    holdMs: 0,
  };
}

async function killSomething(world: World, random: Random): Promise<void> {
  const { deployment } = world;
  const ways: (() => Promise<void>)[] = [
    async () => {
      const name = random.one(deployment.programs);
      await deployment.program(name).killGroup();
      await pause(random.next() * 2_000);
      await deployment.startProgram(name);
    },
    async () => {
      const workers = await childrenOf(deployment.program(random.one(deployment.gateways)).pid);
      if (workers.length > 0) signalOne(random.one(workers), 'SIGKILL');
    },
    async () => {
      await deployment.redis.kill();
      await pause(random.next() * 2_000);
      await deployment.redis.restart({ empty: random.next() < 0.5 });
    },
    async () => {
      await world.fleet.kill(world.keptProcess);
      await world.fleet.revive(world.keptProcess);
    },
  ];
  if (deployment.shape.store === 'postgres') {
    ways.push(async () => {
      await deployment.postgres.kill();
      await pause(random.next() * 2_000);
      await deployment.postgres.restart();
    });
  }
  await random.one(ways)();
}
