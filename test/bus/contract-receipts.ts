import * as assert from 'uvu/assert';
import { RECEIPTS_MAX_ENTRIES, type Receipt } from '../../bus/bus.ts';
import { waitFor } from '../wait.ts';
import type { Rule } from './bus-under-test.ts';
import { ack, acked, numbers, plain } from './samples.ts';

export function receiptRules(rule: Rule): void {
  rule(
    'batches reach the consumer whole and in order, and are dropped once applied',
    async ({ receipts }) => {
      const result: Receipt = {
        kind: 'result',
        device: 'd1',
        command: 'c0',
        body: Uint8Array.of(0, 1, 0xff),
        mac: new Uint8Array(32).fill(7),
        worker: 'gw1/0',
        at: 1_763_769_600_123,
      };
      const tunnel: Receipt = {
        kind: 'tunnel',
        tunnel: 'tun-1',
        device: 'd1',
        event: 'ended',
        side: 'operator',
        reason: 'idle',
        address: '127.0.0.1',
        bytesUp: 5_000_000_000_000,
        bytesDown: 0,
        streams: 3,
        incarnation: 'gw1~abc',
        at: 1_763_769_600_123,
      };
      assert.is(await receipts.oldestAgeMs(), 0);
      assert.is(await receipts.append([result, tunnel, ack(1)]), 'appended');
      assert.is(await receipts.append([ack(2)]), 'appended');
      assert.is(await receipts.backlog(), 2);
      await waitFor(async () => (await receipts.oldestAgeMs()) >= 50, {
        what: 'the first batch to grow old',
      });
      const applied: Receipt[] = [];
      await receipts.consume('one', async (batch) => {
        applied.push(...batch);
      });
      await receipts.append([ack(3)]);
      await waitFor(() => applied.length >= 5, { what: 'all receipts' });
      assert.equal(plain(applied), plain([result, tunnel, ack(1), ack(2), ack(3)]));
      await waitFor(async () => (await receipts.backlog()) === 0, { what: 'an empty backlog' });
      assert.is(await receipts.oldestAgeMs(), 0);
    },
  );

  rule('what nobody can apply is kept aside, and is not handed out', async ({ receipts }) => {
    await receipts.putAside([
      { receipt: { kind: 'nonsense' }, why: 'kind: one that is known' },
      { receipt: 'x'.repeat(100_000), why: 'a receipt: a map' },
    ]);
    assert.is(await receipts.backlog(), 0);
    await receipts.append([ack(1)]);
    const applied: Receipt[] = [];
    await receipts.consume('one', async (batch) => {
      applied.push(...batch);
    });
    await waitFor(() => applied.length > 0, { what: 'a receipt' });
    assert.equal(plain(applied), plain([ack(1)]));
  });

  rule('it reports whether everything appended up to a moment is applied', async ({ receipts }) => {
    const passed = async (mark: string) => {
      const { open } = await receipts.progress();
      return open === null || open > mark;
    };
    const empty = (await receipts.progress()).appended;
    assert.ok(await passed(empty));
    await receipts.append([ack(1)]);
    const first = (await receipts.progress()).appended;
    assert.ok(first > empty);
    assert.not(await passed(first));
    for (let number = 2; number <= 12; number++) await receipts.append([ack(number)]);
    const last = (await receipts.progress()).appended;
    assert.ok(last > first);
    const held: (() => void)[] = [];
    const applied: number[] = [];
    await receipts.consume(
      'one',
      (batch) =>
        new Promise((done) => {
          applied.push(...acked([batch]));
          held.push(done);
        }),
      { maxBatch: 6 },
    );
    await waitFor(() => held.length === 1);
    assert.not(await passed(first), 'handed out is not applied');
    held.shift()?.();
    await waitFor(() => passed(first));
    assert.not(await passed(last));
    await waitFor(() => held.length === 1);
    held.shift()?.();
    await waitFor(() => passed(last));
    assert.equal(applied, numbers(1, 12));
    assert.is((await receipts.progress()).appended, last);
  });

  rule('apply is never called from inside append, and never while it is under way', async ({ receipts }) => {
    let underway = 0;
    let most = 0;
    let inside = false;
    let count = 0;
    await receipts.consume('one', async (batch) => {
      assert.is(inside, false);
      underway += 1;
      most = Math.max(most, underway);
      await new Promise((resolve) => setImmediate(resolve));
      underway -= 1;
      count += batch.length;
    });
    for (const number of numbers(1, 50)) {
      inside = true;
      const appending = receipts.append([ack(number)]);
      inside = false;
      await appending;
    }
    await waitFor(() => count === 50, { what: 'all receipts' });
    assert.is(most, 1);
  });

  rule('several batches come together, up to maxBatch receipts', async ({ receipts }) => {
    for (const number of numbers(1, 30)) await receipts.append([ack(number), ack(number + 100)]);
    await receipts.append(numbers(201, 225).map(ack));
    const sizes: number[] = [];
    const applied: Receipt[] = [];
    await receipts.consume(
      'one',
      async (batch) => {
        sizes.push(batch.length);
        applied.push(...batch);
      },
      { maxBatch: 10 },
    );
    await waitFor(async () => applied.length >= 85 && (await receipts.backlog()) === 0, {
      what: 'all receipts',
    });
    assert.is(applied.length, 85);
    assert.ok(
      sizes.every((size) => size <= 10),
      `sizes ${sizes}`,
    );
    assert.ok(sizes.length < 20, `batches were merged: ${sizes}`);
  });

  rule('each batch goes to one consumer', async ({ receipts }) => {
    const seen: Record<string, Receipt[][]> = { one: [], two: [] };
    for (const name of ['one', 'two']) {
      await receipts.consume(
        name,
        async (batch) => {
          seen[name]?.push([...batch]);
          await new Promise((resolve) => setImmediate(resolve));
        },
        { maxBatch: 5 },
      );
    }
    for (const number of numbers(1, 300)) await receipts.append([ack(number)]);
    await waitFor(async () => (await receipts.backlog()) === 0, { what: 'an empty backlog' });
    const all = acked([...(seen.one ?? []), ...(seen.two ?? [])].flat().map((receipt) => [receipt]));
    assert.equal(
      all.sort((a, b) => a - b),
      numbers(1, 300),
    );
    assert.ok((seen.one ?? []).length > 0 && (seen.two ?? []).length > 0, 'both took part');
  });

  rule('a batch whose apply rejected comes again, and others are not held up by it', async ({ receipts }) => {
    await receipts.append([ack(1)]);
    const applied: number[] = [];
    let rejected = 0;
    await receipts.consume(
      'one',
      async (batch) => {
        if (rejected === 0) {
          rejected += 1;
          throw new Error('the ledger is away');
        }
        applied.push(...acked([batch]));
      },
      { redeliverAfterMs: 3_000 },
    );
    await waitFor(() => rejected > 0, { what: 'the rejection' });
    await receipts.append([ack(2)]);
    await waitFor(() => applied.length >= 2, { what: 'both' });
    assert.equal(applied, [2, 1]);
    await waitFor(async () => (await receipts.backlog()) === 0, { what: 'an empty backlog' });
    assert.is(applied.length, 2);
  });

  rule(
    'what a consumer that died had in hand goes to another after redeliverAfterMs',
    async ({ receipts }) => {
      let release = () => {};
      const stuck = new Promise<void>((resolve) => {
        release = resolve;
      });
      let inHand = 0;
      await receipts.append([ack(1)]);
      await receipts.consume(
        'dying',
        async (batch) => {
          inHand += batch.length;
          await stuck;
        },
        { redeliverAfterMs: 200 },
      );
      await waitFor(() => inHand > 0, { what: 'the first consumer to take it' });
      const applied: Receipt[][] = [];
      await receipts.consume(
        'heir',
        async (batch) => {
          applied.push([...batch]);
        },
        { redeliverAfterMs: 200 },
      );
      await waitFor(() => applied.length > 0, { what: 'the second consumer to inherit it' });
      assert.equal(acked(applied), [1]);
      await waitFor(async () => (await receipts.backlog()) === 0, { what: 'an empty backlog' });
      release();
    },
  );

  rule(
    'a consumer that ended gets nothing more, and finishes what it has in hand first',
    async ({ receipts }) => {
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const applied: number[] = [];
      await receipts.append([ack(1)]);
      const end = await receipts.consume('one', async (batch) => {
        await held;
        applied.push(...acked([batch]));
      });
      await new Promise((resolve) => setImmediate(resolve));
      const ending = end();
      release();
      await ending;
      await end();
      const before = applied.length;
      await receipts.append([ack(2)]);
      const others: number[] = [];
      await receipts.consume('two', async (batch) => {
        others.push(...acked([batch]));
      });
      await waitFor(async () => (await receipts.backlog()) === 0, { what: 'an empty backlog' });
      assert.is(applied.length, before);
      assert.equal([...applied, ...others], [1, 2]);
    },
  );
}

export function receiptBoundRules(rule: Rule): void {
  rule(
    'receipts nobody consumes are full at the bound, and nothing is appended then',
    async ({ receipts }) => {
      const step = 500;
      for (let done = 0; done < RECEIPTS_MAX_ENTRIES; done += step) {
        const answers = await Promise.all(numbers(1, step).map(() => receipts.append([ack(1)])));
        assert.ok(answers.every((answer) => answer === 'appended'));
      }
      assert.is(await receipts.append([ack(2)]), 'full');
      assert.is(await receipts.backlog(), RECEIPTS_MAX_ENTRIES);
    },
  );
}
