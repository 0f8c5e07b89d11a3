/** Receipts wait while clocks run: devices are done in time, and the ledger hears of it late. */
import { waitFor } from '../../wait.ts';
import type { Fault } from '../fault.ts';
import { type EndingKind, endingOptions } from '../traffic-kinds.ts';
import { receiptsHeld } from './services.ts';

/** A fault, while commands are given that end soon in one of all ways. */
export function whileEnding(fault: Fault): Fault {
  return { ...fault, name: `${fault.name} while commands end soon`, traffic: 'short' };
}

/**
 * Commands that end in one way were taken by every device, and most of them are at work, when receipts begin
 * to wait; more are given meanwhile.
 */
export function receiptsWait(kind: EndingKind): Fault {
  const fault = receiptsHeld();
  return {
    ...fault,
    name: `${fault.name} past ${kind}`,
    traffic: kind,
    async begin(world, random) {
      const devices = world.devices.map(({ id }) => id);
      const { id } = await world.ledger.send('sync', { group: 'all', devices }, endingOptions(kind));
      // On a busy machine some are done already.
      const taken = async () => {
        const { running = 0, succeeded = 0 } = await world.ledger.counts(id);
        return running + succeeded > devices.length / 3;
      };
      await waitFor(taken, { what: 'devices to be at work' });
      await fault.begin(world, random);
    },
  };
}
