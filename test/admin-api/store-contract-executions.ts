import * as assert from 'uvu/assert';
import type { DueExecution, ExecutionKey } from '../../admin-api/store/store.ts';
import { addCommand, addDevices, connect, report, sent, T0 } from './store-fixtures.ts';
import type { Rule, StoreUnderTest } from './store-under-test.ts';

const names = (keys: readonly ExecutionKey[]) =>
  keys.map(({ command, device }) => `${command}/${device}`).sort();

export function executionRules(rule: Rule, under: StoreUnderTest): void {
  rule('queued executions of devices come oldest command first, a bounded number each', async (store) => {
    await addDevices(store, 'd', 2);
    for (const id of ['c2', 'c1', 'c3'])
      await addCommand(store, id, { collapseKey: id === 'c1' ? 'k' : null });
    await store.executions.markSent([sent('c1', 'd0001')], T0);
    const queued = await store.executions.queuedFor(['d0001', 'd0000', 'd0000', 'nope'], 2);
    assert.equal(names(queued.due), ['c1/d0000', 'c2/d0000', 'c2/d0001']);
    assert.equal(queued.heldBack.sort(), ['d0000', 'd0001']);
    assert.equal(queued.due[0], { command: 'c1', device: 'd0000', expiresAt: T0 + 60_000, collapseKey: 'k' });
    assert.equal(await store.executions.queuedFor([], 2), { due: [], heldBack: [] });
  });

  rule(
    'what is sent and not acknowledged is counted by worker and against the number for a device',
    async (store) => {
      await addDevices(store, 'd', 2);
      for (const id of ['c1', 'c2', 'c3']) await addCommand(store, id);
      const rows = [
        sent('c1', 'd0000', 7, 'inc-1'),
        sent('c1', 'd0001', 7, 'inc-2'),
        sent('c2', 'd0001', 7, 'inc-2'),
      ];
      await store.executions.markSent(rows, T0);
      assert.equal([...(await store.executions.sentByIncarnation())].sort(), [
        ['inc-1', 1],
        ['inc-2', 2],
      ]);
      const queuedFor = async (perDevice: number) => {
        const { due, heldBack } = await store.executions.queuedFor(['d0000', 'd0001'], perDevice);
        return { due: names(due), heldBack: heldBack.sort() };
      };
      // Also for a device without room it is told that something waits: its next word is a reason to look
      // again.
      assert.equal(await queuedFor(1), { due: [], heldBack: ['d0000', 'd0001'] });
      assert.equal(await queuedFor(2), { due: ['c2/d0000'], heldBack: ['d0000', 'd0001'] });
      assert.equal(await queuedFor(3), { due: ['c2/d0000', 'c3/d0000', 'c3/d0001'], heldBack: [] });
    },
  );

  rule('only what is still queued is marked sent', async (store) => {
    await addDevices(store, 'd', 2);
    await addCommand(store, 'c1');
    const rows = [sent('c1', 'd0001', 7, 'inc-9'), sent('c1', 'nope')];
    assert.equal(await store.executions.markSent(rows, T0), [{ command: 'c1', device: 'd0001' }]);
    assert.equal(await store.executions.markSent(rows, T0 + 1), []);
    const execution = await store.executions.get({ command: 'c1', device: 'd0001' });
    assert.is(execution?.state, 'sent');
    assert.is(execution?.attempts, 1);
    assert.is(execution?.sentAt, T0);
    assert.is(execution?.session, 7);
    assert.is(execution?.incarnation, 'inc-9');
    assert.is(execution?.type, 'sync');
    assert.is(execution?.issuedAt, T0);
  });

  rule('two dispatchers at once never both get one execution', async (store) => {
    const other = await under.second(store);
    const ids = await addDevices(store, 'd', 400);
    await addCommand(store, 'c1');
    await addCommand(store, 'c2');
    const rows = ids.flatMap((id) => [sent('c1', id), sent('c2', id)]);
    const orders = [rows, [...rows].reverse(), rows, [...rows].reverse()];
    const got = await Promise.all(
      orders.map((order, i) => (i % 2 ? other : store).executions.markSent(order, T0)),
    );
    assert.is(got.flat().length, 800);
    assert.is(new Set(names(got.flat())).size, 800);
  });

  rule('what was sent falls back to queued by key, session, incarnation and age', async (store) => {
    await addDevices(store, 'd', 4);
    await addCommand(store, 'c1');
    const { executions } = store;
    const resend = async () => {
      await executions.requeueSentBefore(Number.MAX_SAFE_INTEGER, 100);
      await executions.markSent([sent('c1', 'd0000', 1, 'a'), sent('c1', 'd0001', 2, 'b')], T0);
      await executions.markSent([sent('c1', 'd0002', 3, 'b')], T0 + 10);
    };
    await resend();
    assert.equal(await executions.incarnations(), ['a', 'b']);
    const keys = ['d0000', 'd0001', 'd0003'].map((device) => ({ command: 'c1', device }));
    assert.equal(names(await executions.requeue(keys, 'a')), ['c1/d0000']);
    await resend();
    const ended = ['d0000', 'd0001', 'd0002'].map((device) => ({ device, session: 2 }));
    assert.equal(names(await executions.requeueSessions(ended)), ['c1/d0000', 'c1/d0001']);
    await resend();
    assert.is((await executions.requeueIncarnation('b', 1)).length, 1);
    assert.is((await executions.requeueIncarnation('b', 5)).length, 1);
    assert.is((await executions.requeueIncarnation('b', 5)).length, 0);
    await resend();
    assert.equal(names(await executions.requeueSentBefore(T0 + 10, 5)), ['c1/d0000', 'c1/d0001']);
    await executions.advance([report('c1', 'd0002', 'acked')]);
    assert.equal(await executions.requeueIncarnation('b', 5), []);
    assert.is((await executions.get({ command: 'c1', device: 'd0001' }))?.attempts, 4);
  });

  rule('an execution moves forward, and what comes late only fills in what was unknown', async (store) => {
    const key = { command: 'c1', device: 'd0000' };
    await addDevices(store, 'd', 1);
    await addCommand(store, 'c1');
    const running = report('c1', 'd0000', 'running', { startedAt: 20, percent: 40, note: 'half' });
    assert.equal((await store.executions.advance([running])).changed, [{ ...key, state: 'running' }]);
    const acked = report('c1', 'd0000', 'acked', { ackedAt: 10, finishBy: 99, percent: 1 });
    assert.equal(await store.executions.advance([acked]), { changed: [], current: [], late: [] });
    const sentAgain = report('c1', 'd0000', 'acked', { ackedAt: 15, finishBy: 104 });
    assert.equal((await store.executions.advance([sentAgain])).changed, []);
    await store.executions.advance([report('c1', 'd0000', 'running', { startedAt: 30, percent: 60 })]);
    const execution = await store.executions.get(key);
    assert.is(execution?.state, 'running');
    assert.is(execution?.ackedAt, 10);
    assert.is(execution?.finishBy, 99);
    assert.is(execution?.startedAt, 20);
    assert.is(execution?.percent, 60);
    assert.is(execution?.note, 'half');
  });

  rule('a result is kept with its data, and told again when it is repeated', async (store) => {
    const key = { command: 'c1', device: 'd0000' };
    await addDevices(store, 'd', 1);
    await addCommand(store, 'c1');
    const data = { output: 'a\0b', list: [1, null, true] };
    const result = report('c1', 'd0000', 'failed', { ackedAt: 1, finishedAt: 2, reason: 'no \0 disk', data });
    const answer = {
      changed: [{ ...key, state: 'failed' }],
      current: [{ report: result, state: 'failed' }],
      late: [],
    };
    assert.equal(await store.executions.advance([result]), answer);
    assert.equal(await store.executions.advance([result]), { ...answer, changed: [] });
    const execution = await store.executions.get(key);
    assert.equal(execution?.data, data);
    assert.is(execution?.reason, 'no \ufffd disk');
    assert.is(execution?.finishedAt, 2);
    assert.is(execution?.late, null);
  });

  rule(
    'what a device reports after its execution was ended is kept as late, and the end stands',
    async (store) => {
      const key = { command: 'c1', device: 'd0000' };
      await addDevices(store, 'd', 1);
      await addCommand(store, 'c1');
      await store.executions.finish([key], ['queued'], 'expired', 'not delivered in time', T0);
      const late = report('c1', 'd0000', 'succeeded', { finishedAt: T0 + 9, reason: 'r', data: 1 });
      assert.equal(await store.executions.advance([late]), {
        changed: [],
        current: [{ report: late, state: 'expired' }],
        late: [{ ended: 'expired', state: 'succeeded', inTime: false }],
      });
      const acked = report('c1', 'd0000', 'acked', { ackedAt: T0 + 9 });
      assert.equal((await store.executions.advance([acked])).current, [{ report: acked, state: 'expired' }]);
      const execution = await store.executions.get(key);
      assert.is(execution?.state, 'expired');
      assert.is(execution?.data, null);
      assert.equal(execution?.late, { state: 'succeeded', reason: 'r', at: T0 + 9, inTime: false });
    },
  );

  rule('a report of an execution nobody knows is answered as unknown', async (store) => {
    const reports = [report('nope', 'd', 'succeeded'), report('nope', 'e', 'acked')];
    const answer = await store.executions.advance(reports);
    assert.equal(answer, {
      changed: [],
      current: reports.map((report) => ({ report, state: null })),
      late: [],
    });
  });

  rule(
    'two servers that apply reports of the same executions at once end with one state each',
    async (store) => {
      const other = await under.second(store);
      const ids = await addDevices(store, 'd', 300);
      await addCommand(store, 'c1');
      const reports = ids.map((id) => report('c1', id, 'succeeded', { finishedAt: T0 }));
      const reversed = [...ids].reverse().map((id) => report('c1', id, 'failed', { finishedAt: T0 }));
      const applied = await Promise.all([
        store.executions.advance(reports),
        other.executions.advance(reversed),
      ]);
      assert.is(applied[0].changed.length + applied[1].changed.length, 300);
      assert.is((await store.commands.counts(['c1'])).get('c1')?.total, 300);
    },
  );

  rule('an end is given only to what is in one of the given states, and says which it was', async (store) => {
    await addDevices(store, 'd', 3);
    await addCommand(store, 'c1');
    await store.executions.markSent([sent('c1', 'd0001')], T0);
    await store.executions.advance([report('c1', 'd0002', 'acked')]);
    const keys = ['d0000', 'd0001', 'd0002', 'nope'].map((device) => ({ command: 'c1', device }));
    const ended = await store.executions.finish(
      keys,
      ['queued', 'sent'],
      'canceled',
      'by an operator',
      T0 + 1,
    );
    assert.equal(ended.map((row) => `${row.device} ${row.state}`).sort(), ['d0000 queued', 'd0001 sent']);
    assert.equal(await store.executions.finish(keys, [], 'canceled', 'x', T0), []);
    assert.is((await store.executions.get({ command: 'c1', device: 'd0001' }))?.reason, 'by an operator');
    assert.is((await store.executions.get({ command: 'c1', device: 'd0002' }))?.state, 'acked');
  });

  rule('due: queued or sent past the deliver-by time, acked past the finish-by time', async (store) => {
    const { executions } = store;
    await addDevices(store, 'd', 4);
    await store.devices.applySessions([connect('d0001', 7, 'inc-7')]);
    assert.is(await executions.nextDue(0), null);
    await addCommand(store, 'c1', { expiresAt: T0 + 100 });
    await executions.markSent([sent('c1', 'd0001', 7, 'inc-7')], T0);
    await executions.advance([report('c1', 'd0002', 'acked', { finishBy: T0 + 50 })]);
    await executions.advance([report('c1', 'd0003', 'succeeded', { finishBy: T0 + 10 })]);
    assert.is(await executions.nextDue(0), T0 + 50);
    assert.equal(await executions.due('delivery', T0 + 100, null, 9), []);
    const due = await executions.due('delivery', T0 + 101, null, 9);
    const row = { command: 'c1', asOf: T0 + 100, ending: null };
    const session = { incarnation: 'inc-7', since: T0 + 7 };
    assert.equal(due, [
      { ...row, device: 'd0000', state: 'queued', attempts: 0, session: null, through: null },
      { ...row, device: 'd0001', state: 'sent', attempts: 1, session, through: 'inc-7' },
    ]);
    assert.equal(await executions.due('delivery', T0 + 101, due[0] ?? null, 9), [due[1]]);
    assert.is((await executions.due('delivery', T0 + 101, null, 1)).length, 1);
    assert.is((await executions.due('delivery', T0 + 101, null, 9, T0 + 99)).length, 2);
    assert.equal(await executions.due('delivery', T0 + 101, null, 9, T0 + 100), []);
    assert.equal(await executions.due('finish', T0 + 50, null, 9), []);
    const [late] = await executions.due('finish', T0 + 51, null, 9);
    assert.equal([late?.device, late?.asOf, late?.state], ['d0002', T0 + 50, 'acked']);
    await executions.finish([{ command: 'c1', device: 'd0002' }], ['acked'], 'timed-out', 'late', T0 + 60);
    assert.is(await executions.nextDue(0), T0 + 100);
    assert.is(await executions.nextDue(T0 + 100), null);
  });

  rule('what is past its deliver-by time comes in pages, whatever command a page ends in', async (store) => {
    const { executions } = store;
    await addDevices(store, 'd', 3);
    // In the order of their deliver-by times, which is not that of their ids.
    for (const [id, by] of [
      ['c2', 10],
      ['c3', 10],
      ['c1', 20],
    ] as const) {
      await addCommand(store, id, { expiresAt: T0 + by });
    }
    const inOrder = (rows: ExecutionKey[]) => rows.map(({ command, device }) => `${command}/${device}`);
    const all = ['c2', 'c3', 'c1'].flatMap((id) => [0, 1, 2].map((number) => `${id}/d000${number}`));
    for (const limit of [1, 2, 3, 4, 5, 9, 10]) {
      const found: ExecutionKey[] = [];
      for (let after: DueExecution | null = null; ; ) {
        const page: DueExecution[] = await executions.due('delivery', T0 + 30, after, limit);
        assert.ok(page.length <= limit);
        found.push(...page);
        if (page.length < limit) break;
        after = page.at(-1) ?? null;
      }
      assert.equal(inOrder(found), all, `${limit} at a time`);
    }
    assert.equal(inOrder(await executions.due('delivery', T0 + 30, null, 9, T0 + 10)), all.slice(6));
  });

  rule('what was never sent ends at once, and what was is marked and sent no more', async (store) => {
    const { executions } = store;
    await addDevices(store, 'd', 4);
    await addCommand(store, 'c1');
    await executions.markSent(
      ['d0001', 'd0002', 'd0003'].map((device) => sent('c1', device, 1, device === 'd0001' ? 'a' : 'b')),
      T0,
    );
    await executions.requeueIncarnation('a', 9);
    await executions.advance([report('c1', 'd0003', 'acked')]);
    const keys = ['d0000', 'd0001', 'd0002', 'd0003'].map((device) => ({ command: 'c1', device }));
    const { ended, marked } = await executions.end(keys, 'cancel', T0 + 5);
    assert.equal(names(ended), ['c1/d0000']);
    assert.equal(names(marked), ['c1/d0001', 'c1/d0002']);
    const first = await executions.get(keys[0] as ExecutionKey);
    assert.equal([first?.state, first?.reason], ['canceled', 'canceled before it was sent']);
    assert.equal((await executions.get(keys[1] as ExecutionKey))?.ending, { how: 'cancel', asOf: T0 + 5 });
    assert.equal(await executions.queuedFor(['d0001'], 9), { due: [], heldBack: [] });
    assert.equal(await executions.markSent([sent('c1', 'd0001')], T0 + 6), []);
    assert.is(await executions.nextDue(Number.MAX_SAFE_INTEGER), T0 + 5);
    assert.equal(names(await executions.due('ending', T0 + 6, null, 9)), ['c1/d0001', 'c1/d0002']);
    // Asked again later, the first moment stands.
    assert.equal((await executions.end(keys, 'cancel', T0 + 9)).marked, []);
    await executions.advance([report('c1', 'd0002', 'acked')]);
    assert.equal(names(await executions.due('ending', T0 + 6, null, 9)), ['c1/d0001']);
    assert.equal(names((await executions.end(keys, 'force', T0 + 9)).marked), [
      'c1/d0001',
      'c1/d0002',
      'c1/d0003',
    ]);
    await executions.advance([report('c1', 'd0002', 'running')]);
    assert.is((await executions.due('ending', T0 + 10, null, 9)).length, 3, 'force stays');
    await executions.advance([report('c1', 'd0002', 'succeeded', { finishedAt: T0 })]);
    assert.equal(names(await executions.due('ending', T0 + 10, null, 9)), ['c1/d0001', 'c1/d0003']);
  });

  rule(
    'a late end was in time when its gateway had it by the moment that counted, and not by when it was ended',
    async (store) => {
      const { executions } = store;
      await addDevices(store, 'd', 2);
      await addCommand(store, 'c1');
      for (const device of ['d0000', 'd0001']) {
        await executions.advance([report('c1', device, 'acked', { finishBy: T0 + 50 })]);
        const row = { command: 'c1', device, asOf: T0 + 50 };
        await executions.finish([row], ['acked'], 'timed-out', 'late', T0 + 60);
      }
      const { late } = await executions.advance([
        report('c1', 'd0000', 'succeeded', { finishedAt: T0 + 50 }),
        report('c1', 'd0001', 'succeeded', { finishedAt: T0 + 51 }),
      ]);
      const given = { ended: 'timed-out', state: 'succeeded' };
      assert.equal(
        late.sort((a, b) => Number(b.inTime) - Number(a.inTime)),
        [
          { ...given, inTime: true },
          { ...given, inTime: false },
        ],
      );
      assert.is((await executions.get({ command: 'c1', device: 'd0000' }))?.late?.inTime, true);
      assert.is((await executions.get({ command: 'c1', device: 'd0001' }))?.late?.inTime, false);
    },
  );

  rule('executions are listed by command, device and state, in pages', async (store) => {
    await addDevices(store, 'd', 5);
    await addCommand(store, 'c1');
    await addCommand(store, 'c2');
    await store.executions.markSent([sent('c1', 'd0003')], T0);
    const listed = async (filter: Parameters<typeof store.executions.list>[0]) => {
      const rows: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await store.executions.list(filter, { limit: 2, cursor });
        rows.push(...page.items.map((e) => `${e.commandId}/${e.deviceId}`));
        cursor = page.next ?? undefined;
      } while (cursor !== undefined);
      return rows;
    };
    assert.equal(
      await listed({ command: 'c1' }),
      [0, 1, 2, 3, 4].map((i) => `c1/d000${i}`),
    );
    assert.equal(await listed({ command: 'c1', state: 'sent' }), ['c1/d0003']);
    assert.equal(await listed({ device: 'd0003' }), ['c2/d0003', 'c1/d0003']);
    assert.is((await listed({})).length, 10);
    assert.equal(await store.executions.ofCommand('c1', ['queued', 'sent'], 'd0001', 2), ['d0002', 'd0003']);
    assert.equal(await store.executions.ofCommand('c1', [], '', 2), []);
    const openKeys = async (after: ExecutionKey | null, limit: number) =>
      (await store.executions.open(after, limit)).map(({ device, command }) => `${device}/${command}`);
    assert.equal(await openKeys(null, 3), ['d0000/c1', 'd0000/c2', 'd0001/c1']);
    assert.equal(await openKeys({ command: 'c1', device: 'd0004' }, 9), ['d0004/c2']);
    await store.executions.advance([
      report('c1', 'd0001', 'acked', { ackedAt: T0 + 5 }),
      report('c1', 'd0004', 'acked', { ackedAt: T0 + 5 }),
      report('c2', 'd0004', 'acked', { ackedAt: T0 + 9 }),
    ]);
    const acked = (before: number, after: ExecutionKey | null, limit: number) =>
      store.executions.ackedBefore(['d0001', 'd0003', 'd0004'], before, after, limit);
    assert.equal(await acked(T0 + 5, null, 9), []);
    assert.equal(await acked(T0 + 10, null, 1), [{ command: 'c1', device: 'd0001' }]);
    assert.equal(await acked(T0 + 9, { command: 'c1', device: 'd0001' }, 9), [
      { command: 'c1', device: 'd0004' },
    ]);
    assert.equal(await store.executions.openOf('d0003', 9), [
      { command: 'c1', device: 'd0003', state: 'sent' },
      { command: 'c2', device: 'd0003', state: 'queued' },
    ]);
  });
}
