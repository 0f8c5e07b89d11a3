/** Devices sent out of service without a signed order. */
import { waitFor } from '../../wait.ts';
import type { Attack, Scene } from '../attack.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';

/** Back in service means: with a session, and reached by a command. */
function staysInService(world: World, victim: Victim, attack: () => Promise<void>): Scene {
  return {
    attack,
    control: () => world.reaches(world.bystander),
    async judge() {
      const success = await victim.outOfService();
      if (success === null) await world.reaches(victim);
      return success;
    },
  };
}

function closedByOutbox(code: number): Attack {
  return {
    name: `outbox-close-${code}`,
    by: 'redis',
    rules: 'C-2, S-8',
    title: `who writes to Redis has the gateway close a device's session with ${code}`,
    async stage(world) {
      const victim = await world.victim();
      return {
        attack: () =>
          world.deliver(world.redis, victim, { close: { code, reason: 'H-3: blocked by an operator' } }),
        // Through the same outbox, also if the session was closed before.
        control: async () => {
          const id = await world.commandTo(victim);
          await waitFor(() => victim.gone !== null || victim.device.started(id) === 1, {
            what: 'the next command to run',
          });
        },
        judge: () => victim.outOfService(),
      };
    },
  };
}

function closedByGateway(
  at: 'open' | 'challenge' | 'proof' | 'welcome',
  code: number,
  title: string,
): Attack {
  return {
    name: `gateway-close-${code}-at-${at}`,
    by: 'gateway',
    rules: 'C-2, S-8',
    title: `a stolen gateway closes with ${code} ${title}`,
    async stage(world) {
      const victim = await world.captive();
      return staysInService(world, victim, async () => {
        await world.fallsInto({ close: { at, code } }, victim);
        await victim.closed(code);
      });
    },
  };
}

export const CLOSINGS: readonly Attack[] = [
  closedByOutbox(4402),
  closedByOutbox(4404),
  closedByGateway('open', 4404, 'before any challenge'),
  closedByGateway('challenge', 4402, 'after the challenge'),
  closedByGateway('proof', 4403, 'after the proof'),
  closedByGateway('welcome', 4404, 'after the welcome'),
];
