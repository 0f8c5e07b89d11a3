/** Memberships that would end a device, capture it, or put it where it does not belong. */
import { randomBytes } from 'node:crypto';
import type { MembershipOrder, OrderBody } from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { forgedOrder, frameOf } from './orders.ts';

function membership(device: string, state: MembershipOrder['state']): MembershipOrder {
  const to = { fingerprint: new Uint8Array(randomBytes(32)), url: 'http://127.0.0.1:9' };
  return {
    ...{ kind: 'membership', target: { device }, state, groups: ['all'], epoch: 1_000, revision: 1 },
    ...(state === 'moved' && { to }),
    issuedAt: Date.now(),
  };
}

const isMembership = (state: MembershipOrder['state']) => (order: OrderBody) =>
  order.kind === 'membership' && order.state === state;

/** Blocked by an operator, told so, and unblocked: with the membership that said so. */
async function onceBlocked(world: World): Promise<{ victim: Victim; blocked: Uint8Array }> {
  const { api } = world.lab.operator;
  const victim = await world.victim();
  const change = (blocked: boolean) =>
    api.request('PATCH', `/v1/devices/${victim.id}`, { body: { blocked } });
  await change(true);
  const blocked = await frameOf(victim, isMembership('blocked'));
  await waitFor(() => !victim.device.connected, { what: 'the blocked device to be closed' });
  await change(false);
  victim.device.sdk.connectNow();
  await waitFor(() => victim.device.connected, { what: 'its return' });
  await world.reaches(victim);
  victim.forgive();
  return { victim, blocked };
}

export const MEMBERSHIPS: readonly Attack[] = [
  {
    name: 'forged-deletion',
    by: 'redis',
    rules: 'S-2, S-8',
    title: 'who writes to Redis tells a device that it was deleted',
    async stage(world) {
      const victim = await world.victim();
      const frame = forgedOrder(membership(victim.id, 'deleted'));
      return {
        attack: () => world.deliver(world.redis, victim, { frame, close: { code: 4402, reason: 'H-3' } }),
        control: () => victim.closed(4402),
        judge: () => victim.outOfService(),
      };
    },
  },
  {
    name: 'forged-move',
    by: 'gateway',
    rules: 'S-2, S-8, H-11',
    title: 'a stolen gateway sends a device to an installation of the attacker, before welcome',
    async stage(world) {
      const victim = await world.captive();
      const before = [forgedOrder(membership(victim.id, 'moved'))];
      return {
        attack: () => world.fallsInto({ before, close: { at: 'proof', code: 4402 } }, victim),
        control: () => victim.closed(4402),
        judge: () => victim.outOfService(),
      };
    },
  },
  {
    name: 'replayed-block',
    by: 'redis',
    rules: 'S-7, S-8',
    title: 'who writes to Redis repeats that a device is blocked, which was unblocked since',
    async stage(world) {
      const { victim, blocked } = await onceBlocked(world);
      const refused = victim.device.refusals.length;
      return {
        attack: () => world.deliver(world.redis, victim, { frame: blocked }),
        control: () => victim.refuses(refused),
        judge: () => victim.outOfService(),
      };
    },
  },
  {
    name: 'deletion-of-another',
    by: 'redis',
    rules: 'S-7',
    title: 'who writes to Redis tells a device what another was told: that it was deleted',
    async stage(world) {
      const [victim, other] = [await world.victim(), await world.victim()];
      await world.delete(other);
      const frame = await frameOf(other, isMembership('deleted'));
      const refused = victim.device.refusals.length;
      return {
        attack: () => world.deliver(world.redis, victim, { frame }),
        control: () => victim.refuses(refused),
        judge: () => victim.outOfService(),
      };
    },
  },
  {
    name: 'replayed-membership',
    by: 'gateway',
    rules: 'S-7, S-4',
    title: 'a stolen gateway repeats the membership of a group that a device left, and a command for it',
    async stage(world) {
      const { lab } = world;
      const { operator } = lab;
      await lab.group('left');
      await lab.group('joined');
      const victim = await world.victim({ group: 'left' });
      const member = await world.victim({ group: 'left' });
      const move = async (groupId: string) => {
        await operator.api.request('PATCH', `/v1/devices/${victim.id}`, { body: { groupId } });
        await waitFor(() => victim.groups.at(-1) === groupId, { what: `the membership of ${groupId}` });
      };
      for (const groupId of ['joined', 'left', 'joined']) await move(groupId);
      const old = await frameOf(victim, (order) => inGroup(order, 'left'));
      const { id } = await operator.send('sync', [member.device], { group: 'left' });
      const frame = await frameOf(member, (order) => order.kind === 'command' && order.id === id);
      return {
        async attack() {
          await world.deliver(world.gateway, victim, { frame: old });
          await world.deliver(world.gateway, victim, { frame });
        },
        control: () => world.reaches(victim),
        judge: async () =>
          victim.device.started(id) > 0
            ? `${victim.device.name} ran a command of a group that it left`
            : null,
      };
    },
  },
];

function inGroup(order: OrderBody, group: string): boolean {
  return order.kind === 'membership' && order.groups.at(-1) === group;
}
