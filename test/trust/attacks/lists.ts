/** Lists of gateways, and messages that would lead a device to an address of the attacker. */
import { encodeValue, type GatewayAddress, type GatewaysOrder } from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attackers/attacker.ts';
import type { Script } from '../attackers/stolen-address.ts';
import { gatewayEntry, writeGatewayEntry, writeList } from '../directory-entries.ts';
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

/** Started again without any list, the device takes what its gateway has, and dials that. */
function learns(world: World, { device }: Victim, attacker: Attacker, { url }: GatewayAddress) {
  return async () => {
    await device.stop();
    const { list: _, ...state } = (await device.store.load()).state;
    await device.store.saveState(state);
    await device.start();
    await waitFor(async () => (await device.store.load()).state.list, { what: 'the device to get a list' });
    await waitFor(() => device.gateway === 'gw1', { what: 'the device at gw1', timeoutMs: 20_000 });
    await world.reaches(world.bystander);
    if (device.sdk.gateways.some((each) => each.url === url)) return `${device.name} has the foreign address`;
    return (await attacker.make('tappedBytes')) > 0 ? `${device.name} came by the foreign address` : null;
  };
}

const LIST_REFUSED = 'is not what the administration server signed';

/** Who writes again and again is as good as a server that corrects nothing. */
const IN_DIRECTORY: readonly Attack[] = [
  {
    name: 'list-in-the-directory',
    by: 'redis',
    rules: 'G-18',
    title: 'who writes to Redis puts lists in the place of the one that gateways carry',
    async stage(world) {
      const victim = await world.victim();
      const address = await foreignAddress(world, world.redis);
      const its = await world.listOf(victim);
      const newer = { ...its, revision: its.revision + 1, gateways: [address] };
      const frames = [
        await forgedOrder(newer),
        // Signed, but for others.
        await (await world.signer()).frame({ ...newer, target: { group: 'elsewhere' } }),
      ];
      let writes = 0;
      return {
        async attack() {
          const { api } = world.lab.operator;
          await waitFor(
            async () => {
              const frame = frames[writes++ % frames.length] as Uint8Array;
              await writeList(world.redis, its.target.group, frame, `${world.installation} ${writes}`);
              const { warnings } = await api.get<{ warnings: string[] }>('/v1/status');
              return writes > frames.length && warnings.some((warning) => warning.includes(LIST_REFUSED));
            },
            { what: 'gw1 to say what it refused', timeoutMs: 20_000 },
          );
        },
        control: () => world.reaches(victim),
        judge: learns(world, victim, world.redis, address),
      };
    },
  },
  {
    name: 'gateways-in-the-directory',
    by: 'redis',
    rules: 'G-1, G-18',
    title: 'who writes to Redis adds a gateway of its own to those that gateways read, and moves another',
    async stage(world) {
      const victim = await world.victim();
      const address = await foreignAddress(world, world.redis);
      const { url } = address;
      const gw1 = await gatewayEntry(world.redis, 'gw1');
      const told = { port: Number(new URL(url).port), address: url };
      const named = () =>
        victim.wire.heard.some(({ message }) => message?.t === 'update' && message.gateways.includes('gw9'));
      return {
        async attack() {
          await waitFor(
            async () => {
              await writeGatewayEntry(world.redis, { ...gw1, told, revision: gw1.revision + 1 });
              await writeGatewayEntry(world.redis, { ...gw1, name: 'gw9', told });
              return named();
            },
            { what: 'gw1 to name it to the device', timeoutMs: 20_000 },
          );
        },
        control: () => world.reaches(victim),
        judge: learns(world, victim, world.redis, address),
      };
    },
  },
];

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
  ...IN_DIRECTORY,
];
