/** What is asked of commands while a scenario goes on. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Given } from '../fleet/given.ts';
import type { SendOptions } from '../fleet/ledger.ts';
import { Traffic } from '../fleet/traffic.ts';
import { trueTime } from '../fleet/true-time.ts';
import type { Random } from './random.ts';
import type { World } from './world.ts';

/**
 * `usual`: most have to succeed. Of the others, half of all may end by the ledger in that one way; `short`:
 * in any of them.
 */
export type TrafficKind = 'usual' | 'short' | EndingKind;
export type EndingKind = 'finish-by' | 'expiry' | 'collapse' | 'skip' | 'cancel';

const END_CAUSES: Record<EndingKind, SendOptions> = {
  'finish-by': { timeout: 6, may: ['timed-out'] },
  expiry: { ttl: 6, may: ['expired'] },
  collapse: { collapseKey: 'newest', may: ['superseded'] },
  skip: { skip: true, may: ['canceled'] },
  cancel: { may: ['canceled'] },
};

export function endingOptions(kind: EndingKind): SendOptions {
  return END_CAUSES[kind];
}

const PER_SECOND = 8;
const GROUP_EVERY_MS = 2_500;
const AT_ONCE = 150;
/** A cancel comes so late at most, milliseconds: when the device may be done. */
const CANCEL_AFTER_MS = 3_000;

export function startTraffic(world: World, random: Random, kind: TrafficKind): Traffic {
  const cancel = async (given: Given) => {
    if (!given.may.includes('canceled') || given.skip) return;
    if (kind !== 'usual') await pause(random.next() * CANCEL_AFTER_MS);
    given.canceledAt = trueTime();
    await world.api.request('POST', `/v1/commands/${given.id}/cancel`, { body: {} });
  };
  return new Traffic(world.ledger, {
    perSecond: PER_SECOND,
    devices: world.devices.map(({ id }) => id),
    groups: world.targets,
    groupTypes: ['sync', 'message', 'statistics', 'task.start', 'message'],
    groupEveryMs: GROUP_EVERY_MS,
    random: random.next,
    atOnce: AT_ONCE,
    variety: { options: () => optionsOf(kind, random), given: cancel },
  });
}

function optionsOf(kind: TrafficKind, random: Random): SendOptions {
  const drawn = random.next();
  if (kind === 'usual') {
    // Some are taken back at once, or replaced by the next of their kind.
    if (drawn < 0.05) return END_CAUSES.cancel;
    return drawn < 0.1 ? END_CAUSES.collapse : {};
  }
  if (drawn < 0.5) return {};
  return END_CAUSES[kind === 'short' ? random.one(Object.keys(END_CAUSES) as EndingKind[]) : kind];
}
