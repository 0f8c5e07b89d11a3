import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BusUnavailable } from '../../bus/bus.ts';
import type { BusUnderTest, Rule } from './bus-under-test.ts';
import { rejectsWith } from './expect.ts';
import { ack, identity, LONG_MS, load } from './samples.ts';

export function lifeRules(rule: Rule, subject: BusUnderTest): void {
  test('a bus that was not started is not available, says so, and can be stopped', async () => {
    const bus = subject.unstarted();
    assert.is(bus.status().available, false);
    assert.type(bus.status().reason, 'string');
    await rejectsWith(bus.leases.list(), BusUnavailable);
    await bus.stop();
  });

  rule('a started bus is available since a moment that is not in the future', async (bus) => {
    assert.is(bus.status().available, true);
    assert.ok(bus.status().since <= Date.now());
    assert.is(bus.status().reason, undefined);
  });

  rule('after stop every method rejects with BusUnavailable, and stop may come again', async (bus) => {
    await bus.stop();
    await bus.stop();
    assert.is(bus.status().available, false);
    await rejectsWith(bus.leases.acquire(identity, load, LONG_MS), BusUnavailable);
    await rejectsWith(bus.outboxes.append('x', []), BusUnavailable);
    await rejectsWith(bus.outboxes.read('x', null, 1), BusUnavailable);
    await rejectsWith(
      bus.outboxes.onHint('x', () => {}),
      BusUnavailable,
    );
    await rejectsWith(bus.receipts.append([ack(1)]), BusUnavailable);
    await rejectsWith(
      bus.receipts.consume('c', async () => {}),
      BusUnavailable,
    );
    await rejectsWith(bus.presence.claim('x', [{ device: 'd' }]), BusUnavailable);
    await rejectsWith(bus.presence.locate(['d']), BusUnavailable);
    await rejectsWith(bus.directory.look(), BusUnavailable);
    await rejectsWith(bus.directory.devices(['d']), BusUnavailable);
    await rejectsWith(
      bus.directory.onGatewaysChange(() => {}),
      BusUnavailable,
    );
    await rejectsWith(bus.start(), BusUnavailable);
  });
}
