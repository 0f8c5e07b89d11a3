/** Genuine entries of Redis, changed, repeated and put into another order by who may write there. */
import { randomBytes } from 'node:crypto';
import type { Receipt } from '../../../bus/bus.ts';
import { decode, encode } from '../../../bus/encoding.ts';
import { keysWith } from '../../../bus/redis/keys.ts';
import { makeStatus } from '../../results.ts';
import { waitFor } from '../../wait.ts';
import type { Attack, Scene } from '../attack.ts';
import type { Attacker } from '../attackers/attacker.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { cameTo, viewOf } from './certificates.ts';

const KEYS = keysWith('pp', false);

/** Names and values, one after the other. */
type Fields = Uint8Array[];
type Entry = [id: Uint8Array, fields: Fields];

async function entriesOf({ redis }: World, stream: string): Promise<Entry[]> {
  return (await redis.make('redis', 'XRANGE', stream, '-', '+')) as Entry[];
}

async function append({ redis }: World, stream: string, fields: Fields): Promise<void> {
  await redis.make('redis', 'XADD', stream, '*', ...fields.map((field) => new Uint8Array(field)));
}

const batchOf = (fields: Fields) => decode<Receipt[]>(fields[1] as Uint8Array);

function says(fields: Fields, { id }: { id: string }, kind: Receipt['kind']): boolean {
  return batchOf(fields).some((each) => each.kind === kind && 'device' in each && each.device === id);
}

/** What comes of `act` in the stream of receipts; no server takes anything before `last` is in it. */
async function reported(
  world: World,
  act: () => Promise<unknown>,
  last: (fields: Fields) => boolean,
): Promise<Fields[]> {
  const { deployment } = world.lab;
  deployment.freeze('admin');
  try {
    await act();
    return await waitFor(
      async () => {
        const all = (await entriesOf(world, KEYS.receipts)).map(([, fields]) => fields);
        return all.some(last) && all;
      },
      { what: 'the receipts of it' },
    );
  } finally {
    deployment.thaw('admin');
  }
}

/** The device says which policy it has; the batch with it. */
async function tells(world: World, victim: Victim, policy: string): Promise<Fields> {
  const batches = await reported(
    world,
    async () => victim.device.sdk.setStatus({ policy }),
    (fields) => says(fields, victim, 'status'),
  );
  await waitFor(async () => (await viewOf(world, victim)).policy === policy, { what: `policy ${policy}` });
  return batches.find((fields) => says(fields, victim, 'status')) as Fields;
}

const comes = (world: World, victim: Victim) =>
  reported(
    world,
    async () => {
      await victim.device.start();
      await waitFor(() => victim.device.connected, { what: 'the device to connect' });
    },
    (fields) => says(fields, victim, 'connected'),
  );

const goes = (world: World, victim: Victim) =>
  reported(
    world,
    () => victim.device.stop(),
    (fields) => says(fields, victim, 'disconnected'),
  );

type Status = Extract<Receipt, { kind: 'status' }>;
const POLICIES = ['p-first', 'p-second'] as const;
const FORGED = 'p-forged';
/** No device has come so far. */
const FAR = Number.MAX_SAFE_INTEGER;

/** The device has these policies, one after the other; each genuine status, as its gateway saw it. */
async function said(world: World, victim: Victim, policies: readonly string[]): Promise<Status[]> {
  const statuses: Status[] = [];
  for (const policy of policies) {
    const batch = batchOf(await tells(world, victim, policy));
    const status = batch.find((each) => each.kind === 'status' && each.device === victim.id) as Status;
    statuses.push({ ...status, worker: 'gw2/0' });
  }
  return statuses;
}

/** It succeeds if the ledger has this policy afterwards. */
function telling(
  world: World,
  victim: Victim,
  statuses: readonly Status[],
  forged: string,
  by = world.gateway,
): Scene {
  return {
    attack: () => world.report(by, statuses),
    control: () => world.reaches(world.bystander),
    async judge() {
      const { policy } = await viewOf(world, victim);
      return policy === forged ? `the ledger has the policy ${forged}` : null;
    },
  };
}

async function madeUp(world: World, by: Attacker): Promise<Scene> {
  const victim = await world.victim();
  const { id: device } = victim;
  const { body } = makeStatus(victim, { number: FAR, policy: FORGED });
  const mac = new Uint8Array(randomBytes(32));
  const status = { kind: 'status', device, body, mac, worker: 'gw2/0', at: Date.now() } as const;
  return telling(world, victim, [status], FORGED, by);
}

export const BATCHES: readonly Attack[] = [
  {
    name: 'changed-batch',
    by: 'redis',
    rules: 'H-6',
    title: 'who writes to Redis changes what a gateway said in a batch of its own',
    async stage(world) {
      const victim = await world.victim();
      const [b, , ...rest] = await tells(world, victim, 'p-true');
      const software = 'forged';
      return {
        attack: () => {
          const forged = [cameTo('gw1', victim, { software })];
          return append(world, KEYS.receipts, [b as Uint8Array, encode(forged), ...rest]);
        },
        control: () => world.reaches(world.bystander),
        async judge() {
          const view = await viewOf(world, victim);
          return view.software === software ? 'the ledger has the forged session' : null;
        },
      };
    },
  },
  {
    name: 'replayed-status',
    by: 'redis',
    rules: 'B-5',
    title: 'who writes to Redis repeats the batch with what a device said before',
    async stage(world) {
      const victim = await world.victim();
      const before = await tells(world, victim, 'p-before');
      await tells(world, victim, 'p-now');
      return {
        attack: () => append(world, KEYS.receipts, before),
        control: () => world.reaches(world.bystander),
        async judge() {
          const { policy } = await viewOf(world, victim);
          return policy === 'p-before' ? 'the ledger has the earlier policy' : null;
        },
      };
    },
  },
  {
    name: 'forged-status-by-redis',
    by: 'redis',
    rules: 'B-5',
    title: 'who writes to Redis makes up what a device says of itself',
    stage: (world) => madeUp(world, world.redis),
  },
  {
    name: 'forged-status-by-gateway',
    by: 'gateway',
    rules: 'B-5',
    title: 'a stolen gateway makes up what a device says of itself',
    stage: (world) => madeUp(world, world.gateway),
  },
  {
    name: 'status-of-another-device',
    by: 'gateway',
    rules: 'B-5',
    title: 'a stolen gateway reports the genuine status of one device as that of another',
    async stage(world) {
      const [good, bad] = [await world.victim(), await world.victim()];
      const [genuine] = await said(world, good, [POLICIES[0]]);
      return telling(world, bad, [{ ...(genuine as Status), device: bad.id }], POLICIES[0]);
    },
  },
  {
    name: 'changed-status',
    by: 'gateway',
    rules: 'B-5',
    title: 'a stolen gateway changes what a device says of itself',
    async stage(world) {
      const victim = await world.victim();
      const [genuine] = await said(world, victim, [POLICIES[0]]);
      const { body } = makeStatus(victim, { number: FAR, policy: FORGED });
      return telling(world, victim, [{ ...(genuine as Status), body }], FORGED);
    },
  },
  {
    name: 'replayed-status-by-gateway',
    by: 'gateway',
    rules: 'B-5',
    title: 'a stolen gateway repeats what a device said before',
    async stage(world) {
      const victim = await world.victim();
      const [before] = await said(world, victim, POLICIES);
      return telling(world, victim, [before as Status], POLICIES[0]);
    },
  },
  {
    name: 'reordered-statuses',
    by: 'gateway',
    rules: 'B-5',
    title: 'a stolen gateway withholds what a device said, and reports it in the reverse order, in one batch',
    async stage(world) {
      const victim = await world.victim();
      const [last] = await said(world, victim, ['p-known']);
      const { identity } = (await victim.device.store.load()).state;
      if (!identity) throw new Error('the device is not enrolled');
      // As it said them to the stolen gateway alone.
      const from = { id: victim.id, secret: identity.secret };
      const withheld = POLICIES.map((policy, index) => ({
        ...(last as Status),
        ...makeStatus(from, { number: FAR - POLICIES.length + index, policy }),
      }));
      return telling(world, victim, withheld.reverse(), POLICIES[0]);
    },
  },
  {
    name: 'replayed-session',
    by: 'redis',
    rules: 'H-6',
    title: 'who writes to Redis repeats the batch with the session of a device that left',
    async stage(world) {
      const victim = await world.absent();
      const session = await comes(world, victim);
      await world.lab.operator.onRecord(victim.device, 'connected');
      await goes(world, victim);
      await world.lab.operator.onRecord(victim.device, 'disconnected');
      return {
        attack: async () => {
          for (const fields of session) await append(world, KEYS.receipts, fields);
        },
        control: () => world.reaches(world.bystander),
        async judge() {
          const { state } = await viewOf(world, victim);
          return state === 'connected' ? 'the ledger has the device as connected' : null;
        },
      };
    },
  },
  {
    name: 'reordered-batches',
    by: 'redis',
    rules: 'H-6',
    title: "who writes to Redis puts the end of a device's earlier session behind its present one",
    async stage(world) {
      const victim = await world.absent();
      await comes(world, victim);
      await world.lab.operator.onRecord(victim.device, 'connected');
      const end = await goes(world, victim);
      await world.lab.operator.onRecord(victim.device, 'disconnected');
      await comes(world, victim);
      await world.lab.operator.onRecord(victim.device, 'connected');
      return {
        attack: async () => {
          for (const fields of end) await append(world, KEYS.receipts, fields);
        },
        control: () => world.reaches(world.bystander),
        async judge() {
          const { state } = await viewOf(world, victim);
          return state === 'connected' ? null : 'the ledger has the device as gone';
        },
      };
    },
  },
];
