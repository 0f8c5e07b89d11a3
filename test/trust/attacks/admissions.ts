/** Admissions in a device's place, which count at an honest gateway. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { type DeviceMessage, encodeDeviceMessage, type Prove, proofBytes } from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Script } from '../attackers/stolen-address.ts';
import type { World } from '../world.ts';

function relayed(
  { name, rules, title }: Pick<Attack, 'name' | 'rules' | 'title'>,
  script: (world: World) => Script,
): Attack {
  return {
    ...{ name, by: 'gateway', rules, title },
    async stage(world) {
      const victim = await world.captive();
      return {
        async attack() {
          await world.fallsInto({ relay: world.addresses.gw1.url, ...script(world) }, victim);
          await waitFor(
            async () => {
              const { admitted, closed } = await world.gateway.make('heard');
              return admitted + closed > 0;
            },
            { what: 'the proof to be judged' },
          );
        },
        control: async () => {
          // It reaches the same gateway by itself.
          await waitFor(() => victim.device.gateway === 'gw1', { what: 'the device at gw1' }).catch(
            async (error) => {
              const { admitted } = await world.gateway.make('heard');
              if (admitted === 0) throw error;
            },
          );
        },
        async judge() {
          const { admitted } = await world.gateway.make('heard');
          return admitted > 0 ? 'gw1 admitted the attacker in the place of the device' : null;
        },
      };
    },
  };
}

/** Whether `gw1` admits who sends this proof; then it leaves, unless it `stays`. */
export async function knocks(
  world: World,
  prove: Omit<Prove, 'sig'>,
  sign: Signer,
  stays = false,
): Promise<boolean> {
  const nonce = await world.network.make('knock', world.addresses.gw1.url);
  const message: DeviceMessage = { ...prove, sig: sign(nonce) };
  const admitted = await world.network.make('prove', encodeDeviceMessage(message));
  if (!stays) await world.network.make('leave');
  return admitted;
}
type Signer = (nonce: Uint8Array) => Uint8Array;

export const ADMISSIONS: readonly Attack[] = [
  relayed(
    {
      name: 'relayed-challenge',
      rules: 'H-5',
      title: 'a stolen gateway passes on the challenge of another, and the proof to it',
    },
    () => ({ challenge: { gateway: 'gw1' } }),
  ),
  relayed(
    {
      name: 'relayed-nonce',
      rules: 'H-4, H-5',
      title: 'a stolen gateway passes on the nonce of another under its own name, and the proof to it',
    },
    () => ({}),
  ),
  {
    name: 'replayed-proof',
    by: 'network',
    rules: 'H-2, H-4',
    title: 'who sits on the way shows a proof again that a device once gave to the same gateway',
    async stage(world) {
      const victim = await world.victim();
      const { heldBack: _, ...prove } = victim.wire.said.find(({ t }) => t === 'prove') as Prove & {
        heldBack: boolean;
      };
      let admitted = false;
      return {
        attack: async () => {
          admitted = await knocks(world, prove, () => prove.sig);
        },
        control: () => world.reaches(world.bystander),
        judge: async () => (admitted ? 'gw1 admitted who showed the old proof' : null),
      };
    },
  },
  {
    name: 'impostor',
    by: 'network',
    rules: 'H-3',
    title: 'somebody who knows the id of a device proves with a key of its own',
    async stage(world) {
      const victim = await world.victim();
      const prove = victim.wire.said.find(({ t }) => t === 'prove') as Prove;
      const { privateKey } = generateKeyPairSync('ed25519');
      const { device, software, caps, membership, keys, gateways } = prove;
      const signer = (nonce: Uint8Array) =>
        new Uint8Array(sign(null, proofBytes(nonce, 'gw1', device), privateKey));
      let admitted = false;
      return {
        attack: async () => {
          admitted = await knocks(
            world,
            { t: 'prove', device, software, caps, membership, keys, gateways },
            signer,
          );
        },
        control: () => world.reaches(world.bystander),
        judge: async () => (admitted ? 'gw1 admitted who has another key' : null),
      };
    },
  },
];
