/** Ends that no device reported. */
import { randomBytes } from 'node:crypto';
import type { Receipt } from '../../../bus/bus.ts';
import { nodeCrypto } from '../../../device/index.ts';
import {
  decodeResultBody,
  encodeGatewayMessage,
  encodeResultBody,
  OPEN_STATES,
  RESULT_KEY_BYTES,
  type Result,
  resultBytes,
} from '../../../protocol/index.ts';
import { gate, type TestDevice } from '../../e2e/fleet.ts';
import { waitFor } from '../../wait.ts';
import type { Attack, Scene } from '../attack.ts';
import type { Success } from '../success.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';

function receipt({ id: device }: { id: string }, { id, body, mac }: Omit<Result, 't'>): Receipt {
  return { kind: 'result', device, command: id, body, mac, worker: 'gw2/0', at: Date.now() };
}

/** What the ledger says of a command that the device has not ended. */
async function ended({ lab }: World, device: TestDevice, command: string): Promise<Success> {
  const { state } = await lab.operator.execution(command, device);
  return (OPEN_STATES as readonly string[]).includes(state)
    ? null
    : `${device.name} is said to have ${state}`;
}

/** The result that the device sent, as its gateway saw it. */
function resultOf({ wire, device }: Victim, command: string): Promise<Result> {
  return waitFor(() => wire.results.find(({ id }) => id === command), { what: `a result of ${device.name}` });
}

function forged(by: 'redis' | 'gateway', who: string): Attack {
  return {
    name: `forged-result-by-${by}`,
    by,
    rules: 'R-8',
    title: `${who} reports that a device succeeded which never connected`,
    async stage(world) {
      const [absent] = (await world.lab.enrolled(1)) as [TestDevice];
      const { id } = await world.lab.operator.send('sync', [absent]);
      const body = encodeResultBody({ state: 'succeeded' });
      const mac = new Uint8Array(randomBytes(32));
      return {
        attack: () => world.report(world[by], [receipt(absent, { id, body, mac })]),
        control: () => world.reaches(world.bystander),
        judge: () => ended(world, absent, id),
      };
    },
  };
}

/** Two devices, of which one succeeded and the other is still at work; or one device with two commands. */
async function doneAndBusy(world: World, same: boolean) {
  const { operator } = world.lab;
  const waits = gate();
  const done = await world.victim();
  const first = await operator.send('sync', [done.device]);
  await operator.reaches(first.id, done.device, 'succeeded');
  const busy = same ? done : await world.victim();
  busy.device.work = waits.work;
  const next = same
    ? await operator.send('sync', [busy.device])
    : await operator.send('sync', [busy.device, done.device]);
  await operator.reaches(next.id, busy.device, ['acked', 'running']);
  return { done, busy, first: first.id, next: next.id, open: waits.open };
}

async function genuineElsewhere(world: World, same: boolean): Promise<Scene> {
  const { done, busy, first, next, open } = await doneAndBusy(world, same);
  return {
    async attack() {
      const genuine = await resultOf(done, same ? first : next);
      await world.report(world.gateway, [receipt(busy, { ...genuine, id: next })]);
    },
    control: () => world.reaches(world.bystander),
    async judge() {
      const success = await ended(world, busy.device, next);
      open();
      return success;
    },
  };
}

/** As the device would make it with the secret that it has. */
async function madeBy(device: TestDevice, id: string) {
  const { identity } = (await device.store.load()).state;
  if (!identity) throw new Error('the device is not enrolled');
  const body = encodeResultBody({ state: 'succeeded' });
  const key = await nodeCrypto.mac(identity.secret, RESULT_KEY_BYTES);
  return { id, body, mac: await nodeCrypto.mac(key, resultBytes(device.id, id, body)) };
}

export const RESULTS: readonly Attack[] = [
  forged('redis', 'who writes to Redis'),
  forged('gateway', 'a stolen gateway'),
  {
    name: 'result-of-an-earlier-secret',
    by: 'gateway',
    rules: 'R-8',
    title: 'a stolen gateway makes a result with a secret that a device had until it got the next one',
    async stage(world) {
      const [before, after] = (await world.lab.enrolled(2)) as [TestDevice, TestDevice];
      const { id } = await world.lab.operator.send('sync', [before, after]);
      world.database.change('update devices set generation = 2, offered = 2 where id = ?', before.id);
      return {
        attack: async () => world.report(world.gateway, [receipt(before, await madeBy(before, id))]),
        async control() {
          await world.report(world.gateway, [receipt(after, await madeBy(after, id))]);
          await world.lab.operator.reaches(id, after, 'succeeded');
        },
        judge: () => ended(world, before, id),
      };
    },
  },
  {
    name: 'result-of-another-device',
    by: 'gateway',
    rules: 'R-8',
    title: 'a stolen gateway reports the genuine result of one device as that of another',
    stage: (world) => genuineElsewhere(world, false),
  },
  {
    name: 'result-of-another-command',
    by: 'gateway',
    rules: 'R-8',
    title: 'a stolen gateway reports the genuine result of one command as that of the next',
    stage: (world) => genuineElsewhere(world, true),
  },
  {
    name: 'swapped-bodies',
    by: 'gateway',
    rules: 'R-8',
    title: 'a stolen gateway puts the body of a success into the result of a failure',
    async stage(world) {
      const { operator } = world.lab;
      const victim = await world.victim();
      const good = await operator.send('sync', [victim.device]);
      await operator.reaches(good.id, victim.device, 'succeeded');
      victim.wire.loses = ({ t }) => t === 'result';
      victim.device.work = () => {
        throw new Error('it cannot be done');
      };
      const bad = await operator.send('sync', [victim.device]);
      const [{ body }, failure] = [await resultOf(victim, good.id), await resultOf(victim, bad.id)];
      return {
        attack: () => world.report(world.gateway, [receipt(victim, { ...failure, body })]),
        control: () => world.reaches(world.bystander),
        judge: () => ended(world, victim.device, bad.id),
      };
    },
  },
  {
    name: 'forged-settled',
    by: 'gateway',
    rules: 'R-6',
    title: 'a stolen gateway says of a command under way that the ledger has its end',
    async stage(world) {
      const waits = gate();
      let stopped = false;
      const victim = await world.captive({
        work: (command, context, device) => {
          context.signal.addEventListener('abort', () => {
            stopped = true;
          });
          return waits.work(command, context, device);
        },
      });
      const frame = await world.orderFor(victim, 'c-busy');
      const settled = encodeGatewayMessage({ t: 'settled', id: 'c-busy', state: 'unknown' });
      return {
        attack: async () => {
          await world.fallsInto({ after: [frame] }, victim);
          await waitFor(() => victim.device.started('c-busy') === 1, { what: 'the command to run' });
          await world.gateway.make('say', [settled]);
        },
        control: async () => {
          // What is said after it arrives.
          await world.gateway.make('say', [await world.orderFor(victim, 'c-next')]);
          await waitFor(() => victim.device.started('c-next') === 1, { what: 'the next command' });
          waits.open();
        },
        async judge() {
          if (stopped) return `${victim.device.name} was stopped in its work`;
          const { body } = await resultOf(victim, 'c-busy');
          const { state } = decodeResultBody(body);
          return state === 'succeeded' ? null : `${victim.device.name} reports ${state}`;
        },
      };
    },
  },
];
