/** Orders that come too late, and gateways that lie about the time. */
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { done, ran } from './orders.ts';

const LATE = 'c-late';
/** However long an attack takes. */
const LIE_MS = 600_000;

/** A device, and a command that a gateway withheld until it had expired: before the device enrolled. */
async function withheld(world: World): Promise<{ victim: Victim; after: Uint8Array[] }> {
  const at = Date.now();
  const victim = await world.captive();
  const late = await world.orderFor(victim, LATE, { issuedAt: at - 20_000, expiresAt: at - 10_000 });
  return { victim, after: [late, await world.orderFor(victim, 'c-next')] };
}

/** The device has judged what came, when it runs what came next. */
const judged = (victim: Victim) =>
  waitFor(() => victim.device.started('c-next') === 1, { what: 'the next command to run' });

export const TIMES: readonly Attack[] = [
  {
    name: 'withheld-then-late',
    by: 'gateway',
    rules: 'S-5',
    title: 'a stolen gateway withholds a command until it has expired, and then delivers it',
    async stage(world) {
      const { victim, after } = await withheld(world);
      return {
        attack: () => world.fallsInto({ after }, victim),
        control: async () => void (await judged(victim)),
        judge: async () => ran(victim, LATE),
      };
    },
  },
  {
    name: 'late-and-lying',
    by: 'gateway',
    rules: 'S-5',
    title: 'a stolen gateway delivers an expired command and says that it is still earlier',
    async stage(world) {
      // The membership of its enrolment was issued later than the command expired: so late it is at least.
      const { victim, after } = await withheld(world);
      return {
        attack: () => world.fallsInto({ after, lateMs: LIE_MS }, victim),
        control: async () => void (await judged(victim)),
        judge: async () => ran(victim, LATE),
      };
    },
  },
  {
    name: 'time-ahead-and-again',
    by: 'gateway',
    rules: 'D-10, S-5',
    title: 'a stolen gateway says that it is later, for a device to forget a command, and delivers it again',
    async stage(world) {
      const victim = await world.victim();
      const { id, frame } = await done(world, victim, 60);
      const after = [frame, await world.orderFor(victim, 'c-next')];
      return {
        async attack() {
          await world.fallsInto({ lateMs: -2 * LIE_MS - 60_000 }, victim);
          await waitFor(() => victim.visited.includes('gw2'), { what: 'the device to come' });
          await world.plays({ after });
        },
        control: async () => void (await judged(victim)),
        judge: async () => ran(victim, id, 1),
      };
    },
  },
];
