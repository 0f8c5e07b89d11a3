/** Orders that the administration server did not give, or not to this device, or not now. */
import { generateKeyPairSync, sign } from 'node:crypto';
import {
  type CancelOrder,
  type CommandOrder,
  encodeGatewayMessage,
  encodeOrderBody,
  type OrderBody,
  orderBytes,
} from '../../../protocol/index.ts';
import { gate } from '../../e2e/fleet.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Success } from '../success.ts';
import type { Victim } from '../victim.ts';

const MINUTE_MS = 60_000;
const { privateKey: ATTACKERS_KEY } = generateKeyPairSync('ed25519');

/** Signed by the attacker's own key. */
export function forgedOrder(order: OrderBody): Uint8Array {
  const body = encodeOrderBody(order);
  const sig = new Uint8Array(sign(null, orderBytes(body), ATTACKERS_KEY));
  return encodeGatewayMessage({ t: 'order', body, sig });
}

export function command(target: CommandOrder['target'], more: Partial<CommandOrder> = {}): CommandOrder {
  return {
    ...{ kind: 'command', id: 'c-forged', type: 'sync', args: null, target, timeoutMs: MINUTE_MS },
    ...{ issuedAt: Date.now(), expiresAt: Date.now() + MINUTE_MS },
    ...more,
  };
}

function cancel(target: CancelOrder['target'], id: string): CancelOrder {
  return { kind: 'cancel', id, target, issuedAt: Date.now(), expiresAt: Date.now() + MINUTE_MS };
}

/** The frame of an order as it passed through Redis and the device's gateway. */
export function frameOf(
  { wire, device }: Victim,
  matches: (order: OrderBody) => boolean,
): Promise<Uint8Array> {
  return waitFor(() => wire.orderFrame(matches), { what: `an order to ${device.name}` });
}

function ran({ device }: Victim, id: string, times = 0): Success {
  const started = device.started(id);
  return started > times ? `${device.name} ran ${id} ${started} times, not ${times}` : null;
}

export const ORDERS: readonly Attack[] = [
  {
    name: 'forged-command',
    by: 'redis',
    rules: 'S-2',
    title: 'who writes to Redis signs a command with a key of its own',
    async stage(world) {
      const victim = await world.victim();
      const frame = forgedOrder(command({ device: victim.id }));
      return {
        attack: () => world.deliver(world.redis, victim, { frame }),
        control: () => world.reaches(victim),
        judge: async () => ran(victim, 'c-forged'),
      };
    },
  },
  {
    name: 'replayed-command',
    by: 'redis',
    rules: 'S-6, D-4',
    title: 'who writes to Redis delivers a command again that was settled',
    async stage(world) {
      const victim = await world.victim();
      const { id } = await world.lab.operator.send('sync', [victim.device]);
      await waitFor(() => victim.device.settled.has(id), { what: 'the command to be settled' });
      const frame = await frameOf(victim, (order) => order.kind === 'command' && order.id === id);
      return {
        attack: () => world.deliver(world.redis, victim, { frame }),
        control: () => world.reaches(victim),
        judge: async () => ran(victim, id, 1),
      };
    },
  },
  {
    name: 'command-of-another-device',
    by: 'redis',
    rules: 'S-4',
    title: 'who writes to Redis delivers a command for one device to another',
    async stage(world) {
      const [named, victim] = [await world.victim(), await world.victim()];
      const { id } = await world.lab.operator.send('sync', [named.device]);
      const frame = await frameOf(named, (order) => order.kind === 'command' && order.id === id);
      return {
        attack: () => world.deliver(world.redis, victim, { frame }),
        control: () => world.reaches(victim),
        judge: async () => ran(victim, id),
      };
    },
  },
  {
    name: 'command-of-another-group',
    by: 'gateway',
    rules: 'S-4, S-7',
    title: "a stolen gateway delivers a group's command to a device outside the group",
    async stage(world) {
      await world.lab.group('inner');
      const [member, victim] = [await world.victim({ group: 'inner' }), await world.captive()];
      const { id } = await world.lab.operator.send('sync', [member.device], { group: 'inner' });
      const frame = await frameOf(member, (order) => order.kind === 'command' && order.id === id);
      const own = await world.lab.operator.send('sync', [member.device], { all: true });
      const honest = await frameOf(member, (order) => order.kind === 'command' && order.id === own.id);
      return {
        attack: () => world.fallsInto({ after: [frame, honest] }, victim),
        // A command that is for it as well comes the same way.
        control: async () => {
          await waitFor(() => victim.device.started(own.id) === 1, { what: 'the command to all' });
        },
        judge: async () => ran(victim, id),
      };
    },
  },
  {
    name: 'forged-cancel',
    by: 'redis',
    rules: 'S-2',
    title: 'who writes to Redis signs a cancel with a key of its own',
    async stage(world) {
      const waits = gate();
      const victim = await world.victim({ work: waits.work });
      const { id } = await world.lab.operator.send('sync', [victim.device]);
      await waitFor(() => victim.device.started(id) === 1, { what: 'the command to run' });
      const frame = forgedOrder(cancel({ device: victim.id }, id));
      return {
        attack: () => world.deliver(world.redis, victim, { frame }),
        control: async () => {
          const { id: next } = await world.lab.operator.send('statistics', [victim.device]);
          await waitFor(() => victim.device.started(next) === 1, { what: 'the next command' });
          waits.open();
          await world.lab.operator.reaches(next, victim.device, 'succeeded');
        },
        judge: async () => {
          const { state } = await world.lab.operator.reaches(id, victim.device, ['succeeded', 'canceled']);
          return state === 'canceled' ? `${victim.device.name} stopped ${id}` : null;
        },
      };
    },
  },
];
