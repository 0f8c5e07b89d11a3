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
  const { site } = world;
  const ways: (() => Promise<void>)[] = [
    async () => {
      const name = random.one(site.programs);
      await site.program(name).killGroup();
      await pause(random.next() * 2_000);
      await site.startProgram(name);
    },
    async () => {
      const workers = await childrenOf(site.program(random.one(site.gateways)).pid);
      if (workers.length > 0) signalOne(random.one(workers), 'SIGKILL');
    },
    async () => {
      await site.redis.kill();
      await pause(random.next() * 2_000);
      await site.redis.restart({ empty: random.next() < 0.5 });
    },
    async () => {
      await world.fleet.kill(world.keptProcess);
      await world.fleet.revive(world.keptProcess);
    },
  ];
  if (site.shape.store === 'postgres') {
    ways.push(async () => {
      await site.postgres.kill();
      await pause(random.next() * 2_000);
      await site.postgres.restart();
    });
  }
  await random.one(ways)();
}
