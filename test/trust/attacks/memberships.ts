/** Memberships that would end a device, capture it, or put it where it does not belong. */
import { randomBytes } from 'node:crypto';
import type { MembershipOrder, OrderBody } from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { carried } from './carried.ts';
import { forgedOrder, frameOf, ran } from './orders.ts';

const LATER_EPOCH = 1_000;

function membership(device: string, state: MembershipOrder['state']): MembershipOrder {
  const to = { fingerprint: new Uint8Array(randomBytes(32)), url: 'http://127.0.0.1:9' };
  return {
    ...{ kind: 'membership', target: { device }, state, groups: ['all'], epoch: LATER_EPOCH, revision: 1 },
    ...(state === 'moved' && { to }),
    issuedAt: Date.now(),
  };
}

const isMembership = (state: MembershipOrder['state']) => (order: OrderBody) =>
  order.kind === 'membership' && order.state === state;

const inGroup = (group: string) => (order: OrderBody) =>
  order.kind === 'membership' && order.groups.at(-1) === group;

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

/** In another group now than before: with the membership of the earlier one. */
async function onceIn(world: World, groups: { left: string; joined: string }) {
  const { lab } = world;
  const victim = await world.victim({ group: await lab.group(groups.left) });
  await lab.group(groups.joined);
  const move = async (groupId: string) => {
    await lab.operator.api.request('PATCH', `/v1/devices/${victim.id}`, { body: { groupId } });
    await waitFor(() => victim.groups.at(-1) === groupId, { what: `the membership of ${groupId}` });
  };
  for (const group of [groups.joined, groups.left, groups.joined]) await move(group);
  return { victim, old: await frameOf(victim, inGroup(groups.left)) };
}

const staysIn = (victim: Victim) => () => victim.outOfService();

export const MEMBERSHIPS: readonly Attack[] = [
  ...carried(
    { name: 'forged-deletion', rules: 'S-2, S-8', title: 'tells a device that it was deleted' },
    async (world) => {
      const victim = await world.victim();
      const frames = [forgedOrder(membership(victim.id, 'deleted'))];
      return { victim, frames, judge: staysIn(victim) };
    },
  ),
  ...carried(
    {
      name: 'forged-move',
      rules: 'S-2, S-8',
      title: 'sends a device to an installation of the attacker for good',
    },
    async (world) => {
      const victim = await world.victim();
      return { victim, frames: [forgedOrder(membership(victim.id, 'moved'))], judge: staysIn(victim) };
    },
  ),
  ...carried(
    {
      name: 'replayed-block',
      rules: 'S-7, S-8',
      title: 'repeats that a device is blocked, which was unblocked since',
    },
    async (world) => {
      const { victim, blocked } = await onceBlocked(world);
      return { victim, frames: [blocked], judge: staysIn(victim) };
    },
  ),
  ...carried(
    {
      name: 'deletion-of-another',
      rules: 'S-7',
      title: 'tells a device what another was told: that it was deleted',
    },
    async (world) => {
      const [victim, other] = [await world.victim(), await world.victim()];
      await world.delete(other);
      const frames = [await frameOf(other, isMembership('deleted'))];
      return { victim, frames, judge: staysIn(victim) };
    },
  ),
  ...carried(
    {
      name: 'replayed-membership',
      rules: 'S-7, S-4',
      title: 'repeats the membership of a group that a device left, and delivers a command for the group',
    },
    async (world) => {
      const { victim, old } = await onceIn(world, { left: 'left', joined: 'joined' });
      const member = await world.victim({ group: 'left' });
      const { id } = await world.lab.operator.send('sync', [member.device], { group: 'left' });
      const frame = await frameOf(member, (order) => order.kind === 'command' && order.id === id);
      return { victim, frames: [old, frame], judge: async () => ran(victim, id) };
    },
  ),
  ...carried(
    {
      name: 'membership-of-an-earlier-epoch',
      rules: 'S-7',
      title: 'has an old copy of the database, and ends a device with a membership of the epoch before',
    },
    async (world) => {
      const victim = await world.victim();
      const signer = await world.signer();
      const { key } = (await victim.device.store.load()).state;
      if (!key) throw new Error('no key');
      const base = membership(victim.id, 'active');
      const restored = signer.frame({ ...base, revision: 500, key: key.publicKey });
      const older = { ...base, state: 'deleted' as const, epoch: LATER_EPOCH - 1, revision: 900 };
      return { victim, frames: [restored, signer.frame(older)], judge: staysIn(victim) };
    },
  ),
];
