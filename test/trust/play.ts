/** Plays attacks, one after another, against one world. */
import type { Attack } from './attack.ts';
import type { Success } from './success.ts';
import { World } from './world.ts';

export interface Outcome {
  /** Names. */
  succeeded: string[];
  /** Attacks that could not be played, or whose control failed: they show nothing. */
  unplayed: string[];
}

export async function playAll(attacks: readonly Attack[]): Promise<Outcome> {
  const outcome: Outcome = { succeeded: [], unplayed: [] };
  const world = await World.start();
  try {
    for (const attack of attacks) {
      const { name, by, rules, title } = attack;
      const from = performance.now();
      const what = await play(world, attack).catch((error: Error) => error);
      const seconds = ((performance.now() - from) / 1_000).toFixed(1);
      if (what instanceof Error) outcome.unplayed.push(name);
      else if (what !== null) outcome.succeeded.push(name);
      const verdict =
        what instanceof Error ? `NOT PLAYED: ${what.stack}` : what ? `SUCCEEDED: ${what}` : 'withstood';
      process.stderr.write(`${name} (${by}; ${rules}): ${title}: ${verdict}, ${seconds} s\n`);
    }
    if (outcome.unplayed.length > 0) process.stderr.write(`${world.lab.deployment.lastWords()}\n`);
  } finally {
    await world.stop();
  }
  return outcome;
}

async function play(world: World, attack: Attack): Promise<Success> {
  try {
    const scene = await attack.stage(world);
    await scene.attack();
    await scene.control();
    return await scene.judge();
  } finally {
    await world.between();
  }
}
