/** Gateways that the administration server does not vouch for, and that keep devices all the same. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { encodePass, type Pass, passBytes, type SignedPass } from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { World } from '../world.ts';

const HOUR_MS = 3_600_000;
const { privateKey: ATTACKERS_KEY } = generateKeyPairSync('ed25519');

function lasting(gateway: string, issuedAt: number): Pass {
  return { gateway, issuedAt, expiresAt: issuedAt + 24 * HOUR_MS };
}

function signed(pass: Pass, signer: (bytes: Uint8Array) => Uint8Array): SignedPass {
  const body = encodePass(pass);
  return { body, sig: new Uint8Array(signer(passBytes(body))) };
}

/** A device at a stolen gateway that has this pass goes to the other gateway, which has a good one. */
function keeping(
  { name, title }: Pick<Attack, 'name' | 'title'>,
  passFor: (world: World) => Promise<SignedPass>,
  lateMs = 0,
): Attack {
  return {
    ...{ name, by: 'gateway', rules: 'S-9, G-17', title },
    async stage(world) {
      const victim = await world.captive();
      const pass = await passFor(world);
      const came = () => victim.visited.includes('gw2');
      return {
        attack: async () => {
          await world.fallsInto({ welcome: { pass }, lateMs }, victim);
          await waitFor(came, { what: 'the device to come' });
        },
        // The other gateway admits it as soon as it wants to.
        control: () => world.reaches(world.bystander),
        async judge() {
          const left = waitFor(() => victim.device.gateway === 'gw1', { timeoutMs: 10_000 });
          return left.then(
            () => null,
            () => `${victim.device.name} stays with a gateway that nobody vouches for`,
          );
        },
      };
    },
  };
}

export const PASSES: readonly Attack[] = [
  keeping(
    { name: 'forged-pass', title: 'a gateway that nobody vouches for shows a pass of its own making' },
    async () => signed(lasting('gw2', Date.now()), (bytes) => sign(null, bytes, ATTACKERS_KEY)),
  ),
  keeping(
    { name: 'pass-of-another', title: 'a gateway that nobody vouches for shows the pass of another' },
    (world) => world.passOf('gw1'),
  ),
  keeping(
    { name: 'expired-pass', title: 'a gateway that was removed shows a pass of the day before yesterday' },
    ofTheDayBefore,
  ),
  keeping(
    {
      name: 'expired-pass-and-lying',
      title: 'a gateway that was removed shows an old pass and says that it is still earlier',
    },
    ofTheDayBefore,
    2 * HOUR_MS,
  ),
];

async function ofTheDayBefore(world: World): Promise<SignedPass> {
  const signer = await world.signer();
  const body = encodePass(lasting('gw2', Date.now() - 25 * HOUR_MS));
  return { body, sig: new Uint8Array(signer.signPass(body)) };
}
