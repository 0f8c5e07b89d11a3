/** What somebody reports of devices that are with another gateway. */
import { incarnationOf } from '../../../bus/credentials.ts';
import { encodeResultBody, OPEN_STATES } from '../../../protocol/index.ts';
import { gate } from '../../e2e/fleet.ts';
import { makeStatus } from '../../results.ts';
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attackers/attacker.ts';
import type { World } from '../world.ts';
import { cameTo, serving, viewOf } from './certificates.ts';

const FORGED = 'forged';

/** Somebody reports how far a command of a device is; `incarnation`: with whom the device is, it writes. */
function telling(
  { name, title }: Pick<Attack, 'name' | 'title'>,
  prepare: (world: World) => Promise<{ attacker: Attacker; incarnation?: string }>,
): Attack {
  return {
    ...{ name, by: 'gateway', rules: 'D-5', title },
    async stage(world) {
      const { operator } = world.lab;
      const { attacker, incarnation } = await prepare(world);
      const waits = gate();
      const victim = await world.victim({ work: waits.work });
      const { id: device } = victim;
      const { id: command } = await operator.send('sync', [victim.device]);
      await operator.reaches(command, victim.device, ['acked', 'running']);
      return {
        async attack() {
          if (incarnation !== undefined) await world.claim(attacker, victim, incarnation);
          const at = Date.now();
          await world.report(attacker, [{ kind: 'progress', device, command, note: FORGED, at }]);
        },
        control: () => world.reaches(world.bystander),
        async judge() {
          if (incarnation !== undefined) await attacker.make('unregister', incarnation);
          const { note } = await operator.execution(command, victim.device);
          waits.open();
          return note === FORGED ? 'the ledger has the forged progress' : null;
        },
      };
    },
  };
}

export const PROGRAMS: readonly Attack[] = [
  {
    name: 'presence-theft',
    by: 'redis',
    rules: 'H-3',
    title: 'who writes to Redis reports that a device came to the stolen gateway',
    async stage(world) {
      const victim = await world.victim();
      return {
        attack: () => world.report(world.redis, [cameTo('gw2', victim)]),
        control: () => world.reaches(world.bystander),
        async judge() {
          const { gateway } = await viewOf(world, victim);
          return gateway === 'gw2' ? 'the ledger has it at the stolen gateway' : null;
        },
      };
    },
  },
  telling(
    {
      name: 'progress-of-others',
      title: 'a stolen gateway reports the progress of a device that is with another',
    },
    async ({ gateway }) => ({ attacker: gateway }),
  ),
  telling(
    {
      name: 'presence-claimed',
      title: 'a stolen gateway that serves nobody writes that a device is with it, and speaks for it',
    },
    async ({ gateway }) => ({ attacker: gateway, incarnation: incarnationOf('gw2', 'x') }),
  ),
  telling(
    {
      name: 'presence-outside-its-group',
      title: 'a stolen gateway writes that a device of a group that it does not serve is with it',
    },
    async (world) => serving(world, 'gw5', 'branch'),
  ),
  {
    name: 'claim-within-its-group',
    by: 'gateway',
    rules: 'H-6, R-8',
    title: 'a stolen gateway says that a device of its group is with it, and all that it can for the device',
    async stage(world) {
      const { operator } = world.lab;
      const victim = await world.victim();
      const { attacker, incarnation } = await serving(world, 'gw6', 'all');
      const { id: device } = victim;
      let command = '';
      return {
        async attack() {
          const at = Date.now();
          await world.claim(attacker, victim, incarnation);
          await world.report(attacker, [cameTo('gw6', victim, { incarnation })]);
          command = await world.commandTo(victim);
          const sealed = { body: encodeResultBody({ state: 'succeeded' }), mac: new Uint8Array(32) };
          const { body } = makeStatus(victim, { number: at, policy: FORGED });
          const worker = 'gw6/0';
          await world.report(attacker, [
            { kind: 'result', device, command, ...sealed, worker, at },
            { kind: 'status', device, body, mac: sealed.mac, worker, at },
            { kind: 'want', device, group: 'all', epoch: 1, number: 1, at },
          ]);
        },
        control: () => world.reaches(world.bystander),
        async judge() {
          const { state } = await operator.execution(command, victim.device);
          const { policy } = await viewOf(world, victim);
          // It withheld the command, as it may. Then the gateway is revoked, and the device comes again.
          await operator.api.request('POST', '/v1/gateways/gw6/revoke');
          await operator.api.request('DELETE', '/v1/gateways/gw6');
          await victim.device.stop();
          victim.forgive();
          await victim.device.start();
          await operator.reaches(command, victim.device, 'succeeded');
          if (!(OPEN_STATES as readonly string[]).includes(state))
            return `the command is said to be ${state}`;
          if (policy === FORGED) return 'the ledger has the forged policy';
          return victim.device.started(command) === 1 ? null : 'the command did not run once';
        },
      };
    },
  },
  {
    name: 'batch-for-another',
    by: 'gateway',
    rules: 'S-9',
    title: 'a stolen gateway reports in the name of the gateway that a device is with',
    async stage(world) {
      const victim = await world.victim();
      const software = 'forged';
      return {
        attack: () => world.report(world.gateway, [cameTo('gw1', victim, { software })]),
        control: () => world.reaches(world.bystander),
        async judge() {
          const view = await viewOf(world, victim);
          return view.software === software ? 'the ledger has what it says' : null;
        },
      };
    },
  },
];
