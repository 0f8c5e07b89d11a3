/** Orders that come too late, and gateways that lie about the time. */
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Success } from '../success.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { command, frameOf } from './orders.ts';

const LATE = 'c-late';
const LIE_MS = 30_000;

/** A command that a gateway withheld: it was to be delivered until 10 s ago. */
async function withheld(world: World, victim: Victim): Promise<Uint8Array> {
  const signer = await world.signer();
  const at = Date.now();
  const times = { issuedAt: at - 20_000, expiresAt: at - 10_000 };
  return signer.frame(command({ device: victim.id }, { id: LATE, ...times }));
}

/** The device has judged what came, when it runs what came next. */
async function next(world: World, victim: Victim): Promise<Uint8Array> {
  const signer = await world.signer();
  return signer.frame(command({ device: victim.id }, { id: 'c-next' }));
}

const judged = (victim: Victim) =>
  waitFor(() => victim.device.started('c-next') === 1, { what: 'the next command to run' });

const ranLate = async ({ device }: Victim): Promise<Success> =>
  device.started(LATE) > 0 ? `${device.name} ran a command that had expired` : null;

export const TIMES: readonly Attack[] = [
  {
    name: 'withheld-then-late',
    by: 'gateway',
    rules: 'S-5',
    title: 'a stolen gateway withholds a command until it has expired, and then delivers it',
    async stage(world) {
      const victim = await world.captive();
      const after = [await withheld(world, victim), await next(world, victim)];
      return {
        attack: () => world.fallsInto({ after }, victim),
        control: async () => void (await judged(victim)),
        judge: () => ranLate(victim),
      };
    },
  },
  {
    name: 'late-and-lying',
    by: 'gateway',
    rules: 'S-5',
    title: 'a stolen gateway delivers an expired command and says that it is still earlier',
    async stage(world) {
      const victim = await world.captive();
      // The membership of its enrolment was issued later than the command expired: so late it is at least.
      const after = [await withheld(world, victim), await next(world, victim)];
      return {
        attack: () => world.fallsInto({ after, lateMs: LIE_MS }, victim),
        control: async () => void (await judged(victim)),
        judge: () => ranLate(victim),
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
      const { id } = await world.lab.operator.send('sync', [victim.device], { ttl: 60 });
      await waitFor(() => victim.device.settled.has(id), { what: 'the command to be settled' });
      const frame = await frameOf(victim, (order) => order.kind === 'command' && order.id === id);
      const after = [frame, await next(world, victim)];
      await world.lure(victim);
      return {
        async attack() {
          await world.fallsInto({ lateMs: -2 * LIE_MS - 60_000 }, victim);
          await waitFor(() => victim.visited.includes('gw2'), { what: 'the device to come' });
          await world.plays({ after });
        },
        control: async () => void (await judged(victim)),
        judge: async () =>
          victim.device.started(id) > 1 ? `${victim.device.name} ran a command twice` : null,
      };
    },
  },
];
