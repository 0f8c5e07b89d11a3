/** Genuine entries of Redis, changed, repeated and put into another order by who may write there. */
import type { Receipt } from '../../../bus/bus.ts';
import { decode, encode } from '../../../bus/encoding.ts';
import { keysWith } from '../../../bus/redis/keys.ts';
import { encodeDeviceMessage } from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { viewOf } from './certificates.ts';

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
  const beat = encodeDeviceMessage({ t: 'beat', policy });
  const batches = await reported(
    world,
    async () => victim.wire.inject(beat),
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

export const BATCHES: readonly Attack[] = [
  {
    name: 'changed-batch',
    by: 'redis',
    rules: 'B-1',
    title: 'who writes to Redis changes what a device said in a batch of its gateway',
    async stage(world) {
      const victim = await world.victim();
      const [b, , ...rest] = await tells(world, victim, 'p-true');
      const forged: Receipt = {
        ...{ kind: 'status', device: victim.id, policy: 'p-forged', compliance: 'compliant', at: Date.now() },
      };
      return {
        attack: () => append(world, KEYS.receipts, [b as Uint8Array, encode([forged]), ...rest]),
        control: () => world.reaches(world.bystander),
        async judge() {
          const { policy } = await viewOf(world, victim);
          return policy === 'p-forged' ? 'the ledger has the forged policy' : null;
        },
      };
    },
  },
  {
    name: 'replayed-status',
    by: 'redis',
    rules: 'B-1',
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
    name: 'replayed-session',
    by: 'redis',
    rules: 'H-6',
    title: 'who writes to Redis repeats the batch with the session of a device that left',
    async stage(world) {
      const victim = await world.absent();
      const session = await comes(world, victim);
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
      const end = await goes(world, victim);
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
