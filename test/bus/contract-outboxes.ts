import * as assert from 'uvu/assert';
import { type Bus, type Delivery, OUTBOX_MAX_ENTRIES } from '../../bus/bus.ts';
import { waitFor } from '../wait.ts';
import type { Rule } from './bus-under-test.ts';
import { delivery, identity, LONG_MS, load, numbers, numbersOf, plain } from './samples.ts';

async function worker(bus: Bus, ttlMs = LONG_MS): Promise<string> {
  return bus.leases.acquire(identity, load, ttlMs);
}

export function outboxRules(rule: Rule): void {
  rule('deliveries are read whole and in the order they were appended', async (bus) => {
    const incarnation = await worker(bus);
    const rich: Delivery = {
      devices: ['a', 'b'],
      frame: new Uint8Array(70_000).fill(0xc1),
      close: { code: 4404, reason: 'blocked', sessions: [1_763_769_600_000_000, 0] },
    };
    const bare: Delivery = { devices: ['a'], close: { code: 4404, reason: 'blocked' } };
    const settled: Delivery = { devices: ['a', 'b'], settled: { id: 'c1', state: 'timed-out' } };
    await bus.outboxes.append(incarnation, [rich, bare, settled]);
    await bus.outboxes.append(incarnation, [delivery(3)]);
    const { entries, lost } = await bus.outboxes.read(incarnation, null, 10);
    assert.is(lost, false);
    assert.equal(plain(entries.map((entry) => entry.delivery)), plain([rich, bare, settled, delivery(3)]));
  });

  rule('grants and ends of tunnels come as they were appended', async (bus) => {
    const incarnation = await worker(bus);
    const opened: Delivery = {
      devices: [],
      tunnel: {
        id: 'tun-1',
        device: 'd1',
        host: '127.0.0.1',
        port: 22,
        deviceHash: new Uint8Array(32).fill(0xc1),
        operatorHash: new Uint8Array(32).fill(0x00),
        joinBy: 1_763_769_600_123,
        idleMs: 600_000,
        lifeMs: 43_200_000,
        maxBytes: 5_000_000_000_000,
      },
    };
    const ended: Delivery = { devices: [], tunnelEnd: { id: 'tun-1', reason: 'closed' } };
    await bus.outboxes.append(incarnation, [opened, delivery(2), ended]);
    const { entries } = await bus.outboxes.read(incarnation, null, 10);
    assert.equal(plain(entries.map((entry) => entry.delivery)), plain([opened, delivery(2), ended]));
  });

  rule('appends that are not awaited keep their order', async (bus) => {
    const incarnation = await worker(bus);
    await Promise.all(numbers(1, 200).map((number) => bus.outboxes.append(incarnation, [delivery(number)])));
    const { entries } = await bus.outboxes.read(incarnation, null, 1_000);
    assert.equal(numbersOf(entries), numbers(1, 200));
  });

  rule('reading goes on from a position, and again from the same position gives the same', async (bus) => {
    const incarnation = await worker(bus);
    await bus.outboxes.append(incarnation, numbers(1, 5).map(delivery));
    const first = await bus.outboxes.read(incarnation, null, 3);
    assert.equal(numbersOf(first.entries), [1, 2, 3]);
    assert.is(first.position.offset, first.entries[2]?.offset);
    for (let again = 0; again < 2; again += 1) {
      const rest = await bus.outboxes.read(incarnation, first.position, 3);
      assert.equal(numbersOf(rest.entries), [4, 5]);
    }
    const { position } = await bus.outboxes.read(incarnation, first.position, 3);
    const nothing = await bus.outboxes.read(incarnation, position, 3);
    assert.equal(nothing, { position, entries: [], lost: false });
    await bus.outboxes.append(incarnation, [delivery(6)]);
    assert.equal(numbersOf((await bus.outboxes.read(incarnation, position, 3)).entries), [6]);
  });

  rule('trim drops what is up to and including the position, and nothing above', async (bus) => {
    const incarnation = await worker(bus);
    await bus.outboxes.append(incarnation, numbers(1, 5).map(delivery));
    const { position } = await bus.outboxes.read(incarnation, null, 3);
    await bus.outboxes.trim(incarnation, position);
    await bus.outboxes.trim(incarnation, position);
    assert.equal(numbersOf((await bus.outboxes.read(incarnation, null, 10)).entries), [4, 5]);
    const end = await bus.outboxes.read(incarnation, position, 10);
    assert.equal(numbersOf(end.entries), [4, 5]);
    await bus.outboxes.trim(incarnation, end.position);
    assert.equal(await bus.outboxes.read(incarnation, end.position, 10), {
      position: end.position,
      entries: [],
      lost: false,
    });
  });

  rule('nothing can be appended for an incarnation without a lease', async (bus) => {
    assert.is(await bus.outboxes.append('nobody', [delivery(1)]), 'gone');
    const released = await worker(bus);
    await bus.leases.release(released);
    assert.is(await bus.outboxes.append(released, [delivery(1)]), 'gone');
    const expiring = await worker(bus, 50);
    await waitFor(async () => (await bus.outboxes.append(expiring, [delivery(1)])) === 'gone', {
      what: 'the lease to expire',
    });
  });

  rule('an outbox that is gone is reported as lost, once', async (bus) => {
    const incarnation = await worker(bus);
    await bus.outboxes.append(incarnation, [delivery(1)]);
    const { position } = await bus.outboxes.read(incarnation, null, 1);
    await bus.leases.release(incarnation);
    const gone = await bus.outboxes.read(incarnation, position, 1);
    assert.is(gone.lost, true);
    assert.equal(gone.entries, []);
    assert.is.not(gone.position.epoch, position.epoch);
    assert.is((await bus.outboxes.read(incarnation, gone.position, 1)).lost, false);
    assert.is((await bus.outboxes.read(incarnation, null, 1)).lost, true, 'also for who never read');
  });

  rule('a position of another epoch is lost, and reading starts over', async (bus) => {
    const incarnation = await worker(bus);
    await bus.outboxes.append(incarnation, [delivery(1), delivery(2)]);
    const { position } = await bus.outboxes.read(incarnation, null, 1);
    const other = await bus.outboxes.read(incarnation, { ...position, epoch: 'another' }, 10);
    assert.is(other.lost, true);
    assert.equal(numbersOf(other.entries), [1, 2]);
    assert.is(other.position.epoch, position.epoch);
  });

  rule('an append is hinted to its own incarnation, never from inside append, until stopped', async (bus) => {
    const [mine, others] = [await worker(bus), await worker(bus)];
    const hints = { mine: 0, others: 0 };
    const stop = await bus.outboxes.onHint(mine, () => {
      hints.mine += 1;
    });
    await bus.outboxes.onHint(others, () => {
      hints.others += 1;
    });
    const appending = bus.outboxes.append(mine, [delivery(1)]);
    assert.is(hints.mine, 0);
    await appending;
    await waitFor(() => hints.mine > 0, { what: 'the hint' });
    assert.is(hints.others, 0);

    await stop();
    await stop();
    const before = hints.mine;
    await bus.outboxes.append(mine, [delivery(2)]);
    await bus.outboxes.append(others, [delivery(3)]);
    await waitFor(() => hints.others > 0, { what: 'the hint of the other' });
    assert.is(hints.mine, before);
  });
}

export function outboxBoundRules(rule: Rule): void {
  rule(
    'an outbox whose reader is too far behind is full, and takes deliveries again once trimmed',
    async (bus) => {
      const incarnation = await worker(bus);
      const many = numbers(1, OUTBOX_MAX_ENTRIES / 20).map(delivery);
      for (let part = 0; part < 19; part += 1) {
        assert.is(await bus.outboxes.append(incarnation, many), 'appended');
      }
      assert.is(
        await bus.outboxes.append(incarnation, [...many, delivery(1)]),
        'full',
        'whole or not at all',
      );
      assert.is(await bus.outboxes.append(incarnation, many), 'appended');
      assert.is(await bus.outboxes.append(incarnation, [delivery(1)]), 'full');
      const { position } = await bus.outboxes.read(incarnation, null, 1);
      await bus.outboxes.trim(incarnation, position);
      assert.is(await bus.outboxes.append(incarnation, [delivery(1)]), 'appended');
    },
  );
}
