/** Answers to devices that ask where to go, from somebody on the way. */
import { randomBytes } from 'node:crypto';
import { encodeOrderBody } from '../../../protocol/index.ts';
import type { TestDevice } from '../../e2e/fleet.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Deceit } from '../attackers/false-server.ts';
import { Victim } from '../victim.ts';
import type { World } from '../world.ts';

/** A device that knows no gateway, and asks by way of the attacker. */
async function lost(world: World): Promise<Victim> {
  const server = await world.onTheWay();
  const [device] = (await world.lab.enrolled(1, { probing: false })) as [TestDevice];
  const { list: _, ...state } = (await device.store.load()).state;
  const identity = state.identity && { ...state.identity, server };
  await device.store.saveState({ ...state, ...(identity && { identity }), gateways: [], older: [] });
  return new Victim(device);
}

function deceived(
  { name, title }: Pick<Attack, 'name' | 'title'>,
  prepare: (world: World, victim: Victim) => Promise<Deceit>,
): Attack {
  return {
    ...{ name, by: 'network', rules: 'G-16', title },
    async stage(world) {
      const victim = await lost(world);
      const deceit = await prepare(world, victim);
      let taken = false;
      return {
        async attack() {
          await world.network.make('deceive', deceit);
          await victim.device.start();
          victim.watch();
          // It asks again when it did not believe the first answer.
          await waitFor(
            async () => {
              taken = victim.device.sdk.gateways.length > 0;
              return taken || (await world.network.make('deceived')) > 1;
            },
            { what: 'the device to ask' },
          );
        },
        async control() {
          await world.network.make('deceive', { is: 'forward' });
          if (!taken) await waitFor(() => victim.device.connected, { what: 'the true answer to lead it' });
        },
        judge: async () => (taken ? `${victim.device.name} goes where the attacker says` : null),
      };
    },
  };
}

export const LOCATED: readonly Attack[] = [
  deceived(
    { name: 'forged-location', title: 'who sits on the way answers a lost device with a list of its own' },
    async (world) => {
      const its = await world.listOf(world.bystander);
      const list = { ...its, gateways: [{ ...world.addresses.gw2, name: 'gw1' }] };
      const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');
      const body = text(encodeOrderBody(list));
      const order = { body, sig: text(randomBytes(64)) };
      const answer = { list: order, membership: order, gateways: ['gw1'], sig: order.sig };
      return { is: 'false', answer: { ...answer, keys: [] } };
    },
  ),
  deceived(
    {
      name: 'replayed-location',
      title: 'who sits on the way repeats the true answer to an earlier question',
    },
    async (world, victim) => {
      const { device } = victim;
      const { state } = await device.store.load();
      await world.network.make('deceive', { is: 'forward' });
      await device.start();
      await waitFor(() => device.connected, { what: 'the first answer' });
      await device.stop();
      const { list: _, ...lost } = state;
      await device.store.saveState({ ...lost, gateways: [], older: [] });
      return { is: 'repeat' };
    },
  ),
];
