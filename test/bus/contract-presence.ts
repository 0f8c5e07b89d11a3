import * as assert from 'uvu/assert';
import type { Rule } from './bus-under-test.ts';
import { identity, LONG_MS, load, numbers } from './samples.ts';

export function presenceRules(rule: Rule): void {
  rule('a claim takes the device and names who held it before', async ({ presence }) => {
    const [first] = await presence.claim('a', [{ device: 'd1' }]);
    assert.is(first?.previous, undefined);
    assert.equal(await presence.locate(['d1', 'd2']), [{ incarnation: 'a', session: first?.session }, null]);
    const [second] = await presence.claim('b', [{ device: 'd1' }]);
    assert.equal(second?.previous, { incarnation: 'a', session: first?.session });
    assert.equal(await presence.locate(['d1']), [{ incarnation: 'b', session: second?.session }]);
  });

  rule(
    'session numbers of a device grow, over releases as well, and are exact integers',
    async ({ presence }) => {
      let last = 0;
      for (const incarnation of ['a', 'b', 'a', 'a', 'b']) {
        const [claimed] = await presence.claim(incarnation, [{ device: 'd1' }]);
        const session = claimed?.session ?? 0;
        assert.ok(Number.isSafeInteger(session));
        assert.ok(session > last, `${session} after ${last}`);
        last = session;
        if (incarnation === 'b') await presence.release('b', [{ device: 'd1', session }]);
      }
    },
  );

  rule('hundreds of claims are answered in order, a device named twice as well', async ({ presence }) => {
    const devices = numbers(1, 500).map((number) => `device-${number}`);
    const claims = [...devices, 'device-7'].map((device) => ({ device }));
    const results = await presence.claim('a', claims);
    assert.is(results.length, 501);
    const located = await presence.locate(devices);
    for (const [index, device] of devices.entries()) {
      const expected = device === 'device-7' ? results[500] : results[index];
      assert.equal(located[index], { incarnation: 'a', session: expected?.session }, device);
    }
    assert.equal(results[500]?.previous, { incarnation: 'a', session: results[6]?.session });
    assert.ok((results[500]?.session ?? 0) > (results[6]?.session ?? 0));
  });

  rule('a late release never evicts the newer session', async ({ presence }) => {
    const [old] = await presence.claim('a', [{ device: 'd1' }]);
    const [newer] = await presence.claim('a', [{ device: 'd1' }]);
    await presence.release('a', [{ device: 'd1', session: old?.session ?? 0 }]);
    await presence.release('b', [{ device: 'd1', session: newer?.session ?? 0 }]);
    assert.is((await presence.locate(['d1']))[0]?.session, newer?.session);
    await presence.release('a', [{ device: 'd1', session: newer?.session ?? 0 }]);
    assert.equal(await presence.locate(['d1']), [null]);
  });

  rule(
    'a claim with heldSession takes what nobody holds, and what that very session holds',
    async ({ presence }) => {
      const [held] = await presence.claim('old', [{ device: 'd1' }]);
      const session = held?.session ?? 0;
      const [again, nobodys] = await presence.claim('new', [
        { device: 'd1', heldSession: session },
        { device: 'd2', heldSession: session },
      ]);
      assert.equal(again?.previous, { incarnation: 'old', session });
      assert.ok((again?.session ?? 0) > session);
      assert.is(nobodys?.previous, undefined);
      assert.ok((nobodys?.session ?? 0) > session);
      assert.equal(
        (await presence.locate(['d1', 'd2'])).map((holder) => holder?.incarnation),
        ['new', 'new'],
      );
    },
  );

  rule('a claim with heldSession leaves a device to its newer session', async ({ presence }) => {
    const [old] = await presence.claim('a', [{ device: 'd1' }]);
    const [newer] = await presence.claim('b', [{ device: 'd1' }]);
    assert.equal(await presence.claim('c', [{ device: 'd1', heldSession: old?.session ?? 0 }]), [null]);
    assert.equal(await presence.locate(['d1']), [{ incarnation: 'b', session: newer?.session }]);
  });

  rule('a session number is above the one held even when the clock was set back', async ({ presence }) => {
    const future = Date.now() * 1000 + 3_600_000_000;
    const [claimed] = await presence.claim('a', [{ device: 'd1', heldSession: future }]);
    assert.ok((claimed?.session ?? 0) > future);
    const [next] = await presence.claim('a', [{ device: 'd1' }]);
    assert.ok((next?.session ?? 0) > (claimed?.session ?? 0));
  });

  rule('nothing asked is nothing answered', async ({ presence }) => {
    assert.equal(await presence.claim('a', []), []);
    assert.equal(await presence.locate([]), []);
    await presence.release('a', []);
  });

  rule('sweeping removes what workers without a lease left behind, and nothing else', async (bus) => {
    const dead = await bus.leases.acquire(identity, load, LONG_MS);
    const alive = await bus.leases.acquire(identity, load, LONG_MS);
    const ids = numbers(1, 60).map((number) => `d${number}`);
    await bus.presence.claim(
      dead,
      ids.map((id) => ({ device: id })),
    );
    await bus.presence.claim(alive, [{ device: 'd1' }, { device: 'd2' }]);
    await bus.leases.release(dead);
    let removed = 0;
    // In parts: more often than there are shards, and entries.
    for (let part = 0; part < 200 && removed < 58; part += 1) removed += await bus.presence.sweep(5);
    assert.is(removed, 58);
    const holders = await bus.presence.locate(ids);
    assert.equal(
      holders.map((holder) => holder?.incarnation ?? null),
      ids.map((_, index) => (index < 2 ? alive : null)),
    );
    for (let part = 0; part < 200; part += 1) assert.is(await bus.presence.sweep(5), 0);
  });
}
