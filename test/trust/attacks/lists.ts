/** Lists of gateways, and messages that would lead a device to an address of the attacker. */
import { encodeValue, type GatewayAddress, type GatewaysOrder } from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attackers/attacker.ts';
import type { Script } from '../attackers/stolen-address.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { carried } from './carried.ts';
import { forgedOrder } from './orders.ts';

/** Where the attacker passes everything on to `gw1`, and so sits between it and whoever comes. */
async function foreignAddress(world: World, attacker: Attacker): Promise<GatewayAddress> {
  const url = new URL(world.addresses.gw1.url);
  url.port = String(await attacker.make('tap', Number(url.port)));
  return { name: 'gw1', url: url.href };
}

/** Sent away from where it is, the device goes on to `gw1`, and not by way of the attacker. */
function dials(world: World, victim: Victim, attacker: Attacker, { url }: GatewayAddress) {
  return async () => {
    const { device } = victim;
    if (device.sdk.gateways.some((each) => each.url === url)) return `${device.name} has the foreign address`;
    const sessions = victim.visited.length;
    await world.gateway.rest();
    await waitFor(() => device.gateway === 'gw1', { what: 'the device at gw1', timeoutMs: 20_000 });
    return (await attacker.make('tappedBytes')) > 0
      ? `${device.name} came by the foreign address, session ${sessions + 1}`
      : null;
  };
}

/** A list that leads to the attacker, by what the true one of the device says. */
function misled(
  about: Pick<Attack, 'name' | 'rules' | 'title'>,
  frame: (world: World, true_: GatewaysOrder, gateways: GatewayAddress[]) => Promise<Uint8Array>,
): Attack[] {
  return carried(about, async (world, by) => {
    const victim = await world.victim();
    const attacker = world[by];
    const address = await foreignAddress(world, attacker);
    const frames = [await frame(world, await world.listOf(victim), [address])];
    return { victim, frames, judge: dials(world, victim, attacker, address) };
  });
}

/** A stolen gateway says where to go in another way than a list. */
function pointed(
  { name, title }: Pick<Attack, 'name' | 'title'>,
  script: (address: GatewayAddress) => Script,
): Attack {
  return {
    ...{ name, by: 'gateway', rules: 'G-1, G-3, C-5', title },
    async stage(world) {
      const victim = await world.captive();
      const address = await foreignAddress(world, world.gateway);
      return {
        async attack() {
          await world.fallsInto(script(address), victim);
          // It followed, or came back.
          await waitFor(
            async () => victim.device.gateway === 'gw1' || (await world.gateway.make('heard')).closed > 1,
            { what: 'the device to leave', timeoutMs: 20_000 },
          );
        },
        control: () => world.reaches(world.bystander),
        judge: dials(world, victim, world.gateway, address),
      };
    },
  };
}

const redirect = (to: unknown[]) => encodeValue({ t: 'redirect', to, reason: 'drain', withinMs: 0 });

export const LISTS: readonly Attack[] = [
  ...misled(
    { name: 'forged-list', rules: 'S-2, G-18', title: 'gives a device a list of gateways of its own making' },
    async (_world, { target }, gateways) =>
      forgedOrder({
        kind: 'gateways',
        target,
        ...{ epoch: 1_000, revision: 1 },
        gateways,
        issuedAt: Date.now(),
      }),
  ),
  ...misled(
    {
      name: 'replayed-list',
      rules: 'S-6, G-18',
      title: 'shows a device the list of gateways of a time when one was where the attacker is now',
    },
    async (world, its, gateways) =>
      (await world.signer()).frame({ ...its, revision: its.revision - 1, gateways }),
  ),
  ...misled(
    {
      name: 'list-of-another-group',
      rules: 'G-18',
      title: 'gives a device the list of gateways of a group that it is not in',
    },
    async (world, its, gateways) =>
      (await world.signer()).frame({
        ...{ ...its, revision: its.revision + 1, gateways },
        target: { group: 'elsewhere' },
      }),
  ),
  pointed(
    {
      name: 'redirect-to-a-foreign-address',
      title: 'a stolen gateway sends a device to an address that no list holds',
    },
    (address) => ({ after: [redirect([address])], close: { at: 'welcome', code: 4001 } }),
  ),
  pointed(
    {
      name: 'update-to-a-foreign-address',
      title: 'a stolen gateway says that gateways have other names and addresses now',
    },
    (address) => ({
      after: [
        encodeValue({ t: 'update', gateways: ['gw9', 'gw2'] }),
        redirect(['gw9']),
        encodeValue({ t: 'update', gateways: [address] }),
      ],
      close: { at: 'welcome', code: 4001 },
    }),
  ),
  pointed(
    {
      name: 'refusal-to-a-foreign-address',
      title: 'a stolen gateway refuses a device and names an address that no list holds',
    },
    ({ name, url }) => ({ refuse: `${name} ${url}, gw9, ${url}` }),
  ),
];
