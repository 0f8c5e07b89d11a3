/** Attacks that bring frames to a device, by Redis or from a stolen gateway. */
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Success } from '../success.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';

export interface Carried {
  /** At the honest gateway, or not started yet. */
  victim: Victim;
  frames: readonly Uint8Array[];
  judge(): Promise<Success>;
}

const WHO = { redis: 'who writes to Redis', gateway: 'a stolen gateway' } as const;

/** The same attack both ways. */
export function carried(
  { name, rules, title }: Pick<Attack, 'name' | 'rules' | 'title'>,
  prepare: (world: World, by: 'redis' | 'gateway') => Promise<Carried>,
): Attack[] {
  return (['redis', 'gateway'] as const).map((by) => ({
    ...{ name: `${name}-by-${by}`, by, rules, title: `${WHO[by]} ${title}` },
    async stage(world) {
      const { victim, frames, judge } = await prepare(world, by);
      const next = await world.orderFor(victim, 'c-next');
      return {
        async attack() {
          if (by === 'gateway') return world.fallsInto({ after: [...frames, next] }, victim);
          for (const frame of frames) await world.deliver(world.redis, victim, { frame });
        },
        // What comes after it is obeyed: so it was judged.
        async control() {
          const id = by === 'gateway' ? 'c-next' : await world.commandTo(victim);
          await waitFor(() => victim.gone !== null || victim.device.started(id) === 1, {
            what: 'the next command to run',
          });
        },
        judge: async () => victim.gone ?? (await judge()),
      };
    },
  }));
}
