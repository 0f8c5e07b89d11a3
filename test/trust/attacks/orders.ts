/** Orders that the administration server did not give, or not to this device. */
import { generateKeyPairSync, sign } from 'node:crypto';
import {
  type CancelOrder,
  type CommandOrder,
  encodeGatewayMessage,
  encodeOrderBody,
  type OrderBody,
  orderBytes,
} from '../../../protocol/index.ts';
import { gate, type Work } from '../../e2e/fleet.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Success } from '../success.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { carried } from './carried.ts';

const MINUTE_MS = 60_000;
const { privateKey: ATTACKERS_KEY } = generateKeyPairSync('ed25519');

/** Signed by a key of the attacker. */
export function forgedOrder(order: OrderBody, key = ATTACKERS_KEY): Uint8Array {
  const body = encodeOrderBody(order);
  const sig = new Uint8Array(sign(null, orderBytes(body), key));
  return encodeGatewayMessage({ t: 'order', body, sig });
}

export function forgedCommand(device: string, id: string): CommandOrder {
  return {
    ...{ kind: 'command', id, type: 'sync', args: null, target: { device }, timeoutMs: MINUTE_MS },
    ...{ issuedAt: Date.now(), expiresAt: Date.now() + MINUTE_MS },
  };
}

function cancel(device: string, id: string): CancelOrder {
  return {
    ...{ kind: 'cancel', id, target: { device } },
    ...{ issuedAt: Date.now(), expiresAt: Date.now() + MINUTE_MS },
  };
}

/** The frame of an order as it passed through Redis and the device's gateway. */
export function frameOf(
  { wire, device }: Victim,
  matches: (order: OrderBody) => boolean,
): Promise<Uint8Array> {
  return waitFor(() => wire.orderFrame(matches), { what: `an order to ${device.name}` });
}

export function ran({ device }: Victim, id: string, times = 0): Success {
  const started = device.started(id);
  return started > times ? `${device.name} ran ${id} ${started} times, not ${times}` : null;
}

/** A genuine command that the device has done, and how it came. */
export async function done(world: World, victim: Victim, ttl = 3_600) {
  const { id } = await world.lab.operator.send('sync', [victim.device], { ttl });
  await waitFor(() => victim.device.settled.has(id), { what: 'the command to be settled' });
  const frame = await frameOf(victim, (order) => order.kind === 'command' && order.id === id);
  return { id, frame };
}

/** A cancel, made for the command and the device, that would stop a device in its work. */
function stopping(
  { name, rules, title }: Pick<Attack, 'name' | 'rules' | 'title'>,
  cancelOf: (world: World, victim: Victim, id: string) => Promise<Uint8Array>,
): Attack[] {
  return carried({ name, rules, title }, async (world, by) => {
    const waits = gate();
    let stopped = false;
    const work: Work = (command, context, device) => {
      if (command.type !== 'task.start') return { revision: 'r1' };
      context.signal.addEventListener('abort', () => {
        stopped = true;
      });
      return waits.work(command, context, device);
    };
    const victim = await world.victim({ work });
    const judge = async () => {
      waits.open();
      return stopped ? `${victim.device.name} was stopped in its work` : null;
    };
    if (by === 'gateway') {
      const busy = await world.orderFor(victim, 'c-busy', { type: 'task.start', args: { task: 'backup' } });
      return { victim, frames: [busy, await cancelOf(world, victim, 'c-busy')], judge };
    }
    // The ledger would have a command canceled that it does not know.
    const { id } = await world.lab.operator.send('task.start', [victim.device]);
    await waitFor(() => victim.device.started(id) === 1, { what: 'the command to run' });
    return { victim, frames: [await cancelOf(world, victim, id)], judge };
  });
}

export const ORDERS: readonly Attack[] = [
  ...carried(
    { name: 'forged-command', rules: 'S-2', title: 'signs a command with a key of its own' },
    async (world) => {
      const victim = await world.victim();
      const frames = [forgedOrder(forgedCommand(victim.id, 'c-forged'))];
      return { victim, frames, judge: async () => ran(victim, 'c-forged') };
    },
  ),
  ...carried(
    { name: 'replayed-command', rules: 'S-6, D-4', title: 'delivers a command again that was settled' },
    async (world) => {
      const victim = await world.victim();
      const { id, frame } = await done(world, victim);
      return { victim, frames: [frame], judge: async () => ran(victim, id, 1) };
    },
  ),
  ...carried(
    { name: 'command-of-another-device', rules: 'S-4', title: "delivers one device's command to another" },
    async (world) => {
      const [named, victim] = [await world.victim(), await world.victim()];
      const { id, frame } = await done(world, named);
      return { victim, frames: [frame], judge: async () => ran(victim, id) };
    },
  ),
  ...carried(
    {
      name: 'command-of-another-group',
      rules: 'S-4, S-7',
      title: "delivers a group's command to a device outside the group",
    },
    async (world) => {
      await world.lab.group('inner');
      const [member, victim] = [await world.victim({ group: 'inner' }), await world.victim()];
      const { id } = await world.lab.operator.send('sync', [member.device], { group: 'inner' });
      const frame = await frameOf(member, (order) => order.kind === 'command' && order.id === id);
      return { victim, frames: [frame], judge: async () => ran(victim, id) };
    },
  ),
  ...stopping(
    { name: 'forged-cancel', rules: 'S-2', title: 'signs a cancel with a key of its own' },
    async (_world, victim, id) => forgedOrder(cancel(victim.id, id)),
  ),
  ...stopping(
    { name: 'cancel-of-another', rules: 'S-4', title: "delivers one device's cancel to another" },
    async (world, _victim, id) => {
      const other = await world.victim();
      return (await world.signer()).frame(cancel(other.id, id));
    },
  ),
];
