/** Devices that one gateway alone would have counted as two programs with one key (PROTOCOL.md, H-12). */
import { COMMAND_TYPE_NAMES } from '../../../protocol/command-types.ts';
import { decodeResultBody, type Result } from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { cameTo, viewOf } from './certificates.ts';

/** So many displaced sessions until the server asks who is there. */
const DISPLACED = 2;

/** Answers of the device to the question who it is, which the ledger has. */
function answersOf({ wire, device }: Victim): number {
  const isAnswer = ({ body }: Result) => 'run' in ((decodeResultBody(body).data ?? {}) as object);
  return wire.results.filter((result) => isAnswer(result) && device.settled.has(result.id)).length;
}

/** The server asks the device, because a stolen gateway says that its sessions end each other; it answers. */
async function suspect(world: World, victim: Victim): Promise<void> {
  const answered = answersOf(victim);
  for (let n = 0; n < DISPLACED; n++) {
    const before = await displacedOf(world, victim);
    await world.report(world.gateway, [cameTo('gw2', victim, { displaced: true, caps: ['identify'] })]);
    await waitFor(async () => (await displacedOf(world, victim)) > before, { what: 'the report to count' });
  }
  await waitFor(() => answersOf(victim) > answered, { what: 'the device to be asked' });
}

async function displacedOf(world: World, victim: Victim): Promise<number> {
  return (await viewOf(world, victim)).displaced?.sessions ?? 0;
}

export const COPIES: readonly Attack[] = [
  {
    name: 'false-clone',
    by: 'gateway',
    rules: 'H-12',
    title:
      "a stolen gateway reports that a device's sessions end each other, before and after a restart of it",
    async stage(world) {
      const handles = COMMAND_TYPE_NAMES.filter((type) => type !== 'identify');
      const victim = await world.victim({ handles });
      return {
        async attack() {
          await suspect(world, victim);
          await victim.device.stop();
          await victim.device.start();
          await world.reaches(victim);
          await suspect(world, victim);
        },
        control: () => world.reaches(world.bystander),
        judge: async () => ((await viewOf(world, victim)).cloned ? `${victim.id} counts as cloned` : null),
      };
    },
  },
];
