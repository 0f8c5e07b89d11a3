/** Enrolments by way of somebody who carries them (PROTOCOL.md, section E). */
import { EnrollError } from '../../../device/index.ts';
import { TestDevice } from '../../e2e/fleet.ts';
import type { Attack } from '../attack.ts';
import type { Deceit } from '../attackers/false-server.ts';
import type { World } from '../world.ts';

const GROUP = 'all';
const AGAIN = true;

interface Enrolling {
  device: TestDevice;
  token: string;
  /** It has enrolled before. */
  again?: boolean;
}

const newcomer = async ({ lab }: World): Promise<Enrolling> => ({
  device: new TestDevice({ name: 'newcomer', group: GROUP }),
  token: await lab.operator.enrolmentToken(GROUP, 1),
});

function carriedBy(
  { name, rules, title }: Pick<Attack, 'name' | 'rules' | 'title'>,
  deceit: Deceit,
  prepare: (world: World, way: string) => Promise<Enrolling> = newcomer,
): Attack {
  return {
    ...{ name, by: 'network', rules, title },
    async stage(world) {
      const way = await world.onTheWay();
      const { device, token, again = false } = await prepare(world, way);
      let [taken, gaveUp, granted] = [false, false, 0];
      return {
        async attack() {
          await world.network.make('deceive', deceit);
          try {
            await device.enrol(way, token, again);
            taken = true;
          } catch (error) {
            if (!(error instanceof EnrollError)) throw error;
            gaveUp = !error.temporary;
          }
          if ((await world.network.make('deceived')) === 0) throw new Error('the attacker was not asked');
          granted = await world.network.make('granted');
        },
        async control() {
          await world.network.make('deceive', { is: 'forward' });
          if (granted > 0 || taken || gaveUp) return;
          await device.enrol(way, token, again);
          if (!again) world.lab.devices.push(device);
        },
        async judge() {
          if (granted > 0) return 'the server granted what the attacker asks';
          if (taken) return 'the device took what the attacker answered';
          return gaveUp ? 'the device gave its enrolment up' : null;
        },
      };
    },
  };
}

export const ENROLMENTS: readonly Attack[] = [
  carriedBy(
    {
      name: 'enrolment-answered',
      rules: 'E-4',
      title: 'who carries an enrolment answers it as an installation of its own',
    },
    { is: 'enrol', how: 'own-installation' },
  ),
  carriedBy(
    {
      name: 'enrolment-answer-changed',
      rules: 'E-3, E-4',
      title: 'who carries an enrolment puts a secret that it knows into the answer',
    },
    { is: 'enrol', how: 'own-secret' },
  ),
  carriedBy(
    {
      name: 'enrolment-refused',
      rules: 'E-6',
      title: 'who carries an enrolment answers that the token is gone for good',
    },
    { is: 'enrol', how: 'own-refusal' },
  ),
  carriedBy(
    {
      name: 'enrolment-in-anothers-place',
      rules: 'E-2',
      title: 'who carries an enrolment asks with the id of its token for a device of its own',
    },
    { is: 'enrol', how: 'own-device' },
  ),
  carriedBy(
    {
      name: 'enrolment-request-changed',
      rules: 'E-2',
      title: "who carries an enrolment asks for the device's secret to be sealed to a key of its own",
    },
    { is: 'enrol', how: 'own-seal-key' },
  ),
  carriedBy(
    {
      name: 'replayed-refusal',
      rules: 'E-6',
      title: 'who carries enrolments repeats the true refusal of an earlier one',
    },
    { is: 'repeat' },
    async (world, way) => {
      const token = await world.lab.operator.enrolmentToken(GROUP, 1);
      const [first, late] = [1, 2].map((n) => new TestDevice({ name: `earlier-${n}`, group: GROUP }));
      await first?.enrol(way, token);
      await late?.enrol(way, token).catch((error: unknown) => {
        if (!(error instanceof EnrollError) || error.temporary) throw error;
      });
      if (first) world.lab.devices.push(first);
      return newcomer(world);
    },
  ),
  carriedBy(
    {
      name: 'replayed-enrolment',
      rules: 'E-3',
      title: 'who carries an enrolment repeats the true answer to an earlier request of the device',
    },
    { is: 'repeat' },
    async (world, way) => {
      const enrolling = await newcomer(world);
      await enrolling.device.enrol(way, enrolling.token);
      world.lab.devices.push(enrolling.device);
      return { ...enrolling, again: AGAIN };
    },
  ),
];
