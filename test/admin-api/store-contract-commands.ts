import * as assert from 'uvu/assert';
import type { NewCommand } from '../../admin-api/store/store.ts';
import {
  addCommand,
  addDevice,
  addDevices,
  connect,
  newCommand,
  report,
  sent,
  T0,
} from './store-fixtures.ts';
import type { Rule, StoreUnderTest } from './store-under-test.ts';

export function commandRules(rule: Rule, under: StoreUnderTest): void {
  rule('a command comes back as it was put in', async (store) => {
    const target = { devices: ['d1', 'd2'] };
    const command = newCommand('c1', {
      target,
      args: { a: [1, 'x', null, { '\0': '😀' }] },
      collapseKey: 'k',
    });
    assert.equal(await store.commands.create(command), { created: true });
    const onRecord = { ...command, expanded: false, cancelRequestedAt: null, finishedAt: null };
    assert.equal(await store.commands.get('c1'), onRecord);
    assert.is(await store.commands.get('c2'), null);
    assert.equal(
      (await store.commands.getMany(['c1', 'c1', 'nope'])).map((c) => c.id),
      ['c1'],
    );
  });

  rule(
    'commands to named devices are made together, each with its executions or not at all',
    async (store) => {
      for (const id of ['d1', 'd2', 'd3']) await addDevice(store, id);
      await store.devices.setBlocked('d3', T0);
      const listed = (id: string, devices: string[], change: Partial<NewCommand> = {}) => {
        return { ...newCommand(id, change), target: { devices } };
      };
      const { answers, superseded } = await store.commands.createListed(
        [
          listed('c1', ['d1', 'd2'], { collapseKey: 'k' }),
          listed('c2', ['d1', 'nobody']),
          listed('c3', ['d3', 'd1'], { collapseKey: 'k' }),
          listed('c4', ['d2'], { collapseKey: 'k', offline: 'skip' }),
        ],
        T0 + 1,
      );
      assert.equal(answers, [
        { queued: ['d1', 'd2'], sent: [], canceled: 0 },
        { unknown: ['nobody'] },
        { queued: ['d1'], sent: [], canceled: 1 },
        { queued: ['d2'], sent: [], canceled: 0 },
      ]);
      assert.equal(superseded, [{ command: 'c1', device: 'd1' }]);
      assert.is(await store.commands.get('c2'), null);
      assert.is((await store.commands.get('c1'))?.expanded, true);
      assert.equal(await store.commands.unexpanded(10), []);
      assert.is((await store.executions.get({ command: 'c1', device: 'd1' }))?.state, 'superseded');
      assert.is((await store.executions.get({ command: 'c1', device: 'd2' }))?.state, 'queued');
      const blocked = await store.executions.get({ command: 'c3', device: 'd3' });
      assert.equal(
        [blocked?.state, blocked?.reason, blocked?.finishedAt],
        ['canceled', 'device blocked', T0 + 1],
      );
      assert.equal(await store.commands.expand('c1', 10, T0), {
        queued: [],
        sent: [],
        superseded: [],
        done: true,
      });
    },
  );

  rule('an idempotency key gives the first command again, and refuses another body', async (store) => {
    const keyed = (id: string, body: number, createdBy = 'token-1') =>
      newCommand(id, { createdBy, idempotency: { key: 'key', bodyHash: new Uint8Array(32).fill(body) } });
    assert.equal(await store.commands.create(keyed('c1', 1)), { created: true });
    assert.equal(await store.commands.create(keyed('c2', 1)), { existing: 'c1' });
    assert.equal(await store.commands.create(keyed('c3', 2)), { conflict: 'c1' });
    assert.equal(await store.commands.create(keyed('c4', 2, 'token-2')), { created: true });
    assert.is(await store.commands.get('c2'), null);
  });

  rule('commands made together keep to their idempotency keys, also among themselves', async (store) => {
    await addDevice(store, 'd1');
    const keyed = (id: string, key: string, body: number, device = 'd1') => ({
      ...newCommand(id, { idempotency: { key, bodyHash: new Uint8Array(32).fill(body) } }),
      target: { devices: [device] },
    });
    const { answers: first } = await store.commands.createListed(
      [keyed('c1', 'a', 1), keyed('c2', 'b', 1, 'nobody'), keyed('c3', 'a', 1), keyed('c4', 'a', 2)],
      T0,
    );
    assert.equal(first, [
      { queued: ['d1'], sent: [], canceled: 0 },
      { unknown: ['nobody'] },
      { existing: 'c1' },
      { conflict: 'c1' },
    ]);
    const { answers: second } = await store.commands.createListed(
      [keyed('c5', 'b', 1), keyed('c6', 'a', 1), keyed('c7', 'c', 1)],
      T0,
    );
    const queued = { queued: ['d1'], sent: [], canceled: 0 };
    assert.equal(second, [queued, { existing: 'c1' }, queued], 'a key that made nothing is not used up');
    const onRecord = await store.commands.getMany(['c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7']);
    assert.equal(
      onRecord.map(({ id }) => id),
      ['c1', 'c5', 'c7'],
    );
  });

  rule('one idempotency key used at once by two servers makes one command', async (store) => {
    const other = await under.second(store);
    const idempotency = { key: 'key', bodyHash: new Uint8Array(32) };
    const made = await Promise.all(
      ['c1', 'c2', 'c3', 'c4'].map((id, i) =>
        (i % 2 ? other : store).commands.create(newCommand(id, { idempotency })),
      ),
    );
    assert.is(made.filter((one) => 'created' in one).length, 1);
    assert.is(made.filter((one) => 'existing' in one).length, 3);
    await addDevice(store, 'd1');
    const keys = ['k1', 'k2', 'k3', 'k4'];
    const together = await Promise.all(
      ['d', 'e', 'f', 'g'].map((prefix, i) => {
        const listed = keys.map((key) => ({
          ...newCommand(`${prefix}${key}`, { idempotency: { key, bodyHash: new Uint8Array(32) } }),
          target: { devices: ['d1'] },
        }));
        return (i % 2 ? other : store).commands.createListed(i < 2 ? listed : listed.reverse(), T0);
      }),
    );
    const answers = together.flatMap((one) => one.answers);
    assert.is(answers.filter((one) => 'queued' in one).length, 4);
    assert.is(answers.filter((one) => 'existing' in one).length, 12);
  });

  rule(
    'expanding makes one row per device of the subtree, whatever the clock said when it enrolled',
    async (store) => {
      await store.groups.create({ id: 'g', parentId: 'all', name: 'g', createdAt: T0 });
      await store.groups.create({ id: 'h', parentId: 'g', name: 'h', createdAt: T0 });
      await addDevice(store, 'a', 'h');
      await addDevice(store, 'b', 'g');
      await addDevice(store, 'c', 'g');
      await addDevice(store, 'elsewhere');
      // The clock has stepped back since, or was another server's.
      await addDevice(store, 'd', 'g', T0 + 3_600_000);
      await store.devices.setBlocked('b', T0);
      await store.commands.create(newCommand('c1', { target: { group: 'g' } }));
      assert.equal(await store.commands.unexpanded(10), ['c1']);
      assert.equal(await store.commands.expand('c1', 2, T0), {
        queued: ['a'],
        sent: [],
        superseded: [],
        done: false,
      });
      assert.equal(await store.commands.expand('c1', 2, T0), {
        queued: ['c', 'd'],
        sent: [],
        superseded: [],
        done: true,
      });
      assert.equal(await store.commands.expand('c1', 2, T0), {
        queued: [],
        sent: [],
        superseded: [],
        done: true,
      });
      assert.equal(await store.commands.unexpanded(10), []);
      const counts = (await store.commands.counts(['c1', 'nope'])).get('c1');
      assert.is(counts?.total, 4);
      assert.is(counts?.queued, 3);
      assert.is(counts?.canceled, 1);
      assert.is((await store.executions.get({ command: 'c1', device: 'b' }))?.reason, 'device blocked');
    },
  );

  rule('a listed device that is unknown gets no row, and one listed twice gets one', async (store) => {
    await addDevices(store, 'd', 3);
    const devices = ['d0002', 'gone', 'd0000', 'd0002'];
    await store.commands.create(newCommand('c1', { target: { devices } }));
    assert.equal((await store.commands.expand('c1', 2, T0)).queued, ['d0000', 'd0002']);
    assert.equal(await store.commands.expand('c1', 2, T0), {
      queued: [],
      sent: [],
      superseded: [],
      done: true,
    });
  });

  rule('a large group is expanded page by page, each device once', async (store) => {
    await store.groups.create({ id: 'g', parentId: 'all', name: 'g', createdAt: T0 });
    const ids = await addDevices(store, 'd', 5_200, 'g');
    await store.commands.create(newCommand('c1', { target: { group: 'g' } }));
    const devices: string[] = [];
    let ahead: string[] | undefined;
    for (let done = false; !done; ) {
      const next = await store.commands.nextToExpand('c1', 500);
      if (ahead !== undefined) assert.equal(next, ahead);
      ahead = await store.commands.nextToExpand('c1', 500, next.at(-1));
      const page = await store.commands.expand('c1', 500, T0);
      assert.equal(page.queued, next);
      devices.push(...page.queued);
      done = page.done;
    }
    assert.equal(devices, ids);
  });

  rule('two servers that expand one command at once make no row twice', async (store) => {
    const other = await under.second(store);
    const ids = await addDevices(store, 'd', 300);
    await store.commands.create(newCommand('c1'));
    const devices: string[] = [];
    await Promise.all(
      [store, other, store, other].map(async (server) => {
        for (let done = false; !done; ) {
          const page = await server.commands.expand('c1', 20, T0);
          devices.push(...page.queued);
          done = page.done;
        }
      }),
    );
    assert.equal(devices.sort(), ids);
    assert.is((await store.commands.counts(['c1'])).get('c1')?.total, 300);
  });

  rule(
    'a device with a route gets a new command at once, unless something is queued or sent to it',
    async (store) => {
      for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) await addDevice(store, id);
      await addCommand(store, 'c1', { target: { devices: ['b', 'c', 'd'] } });
      await store.executions.markSent([sent('c1', 'c'), sent('c1', 'd')], T0);
      await store.executions.advance([report('c1', 'd', 'running')]);
      await store.devices.setBlocked('e', T0);
      const to = (...devices: string[]) =>
        new Map(devices.map((id) => [id, { incarnation: 'inc', session: 7 }]));
      await store.commands.create(newCommand('c2'));
      const page = await store.commands.expand('c2', 10, T0 + 5, to('a', 'b', 'c', 'd', 'e'));
      assert.equal(page, { queued: ['b', 'c', 'f'], sent: ['a', 'd'], superseded: [], done: true });
      const execution = await store.executions.get({ command: 'c2', device: 'a' });
      assert.equal(
        [
          execution?.state,
          execution?.attempts,
          execution?.sentAt,
          execution?.incarnation,
          execution?.session,
        ],
        ['sent', 1, T0 + 5, 'inc', 7],
      );
      assert.equal(await store.executions.requeue([{ command: 'c2', device: 'a' }], 'inc'), [
        { command: 'c2', device: 'a' },
      ]);

      const listed = (id: string, devices: string[], change: Partial<NewCommand> = {}) => {
        return { ...newCommand(id, change), target: { devices } };
      };
      for (const id of ['x', 'y', 'z']) await addDevice(store, id);
      const { answers } = await store.commands.createListed(
        [
          listed('c3', ['x', 'y', 'a']),
          listed('c4', ['y']),
          listed('c5', ['z'], { expiresAt: T0 + 5 }),
          listed('c6', ['e']),
        ],
        T0 + 5,
        to('a', 'e', 'x', 'y', 'z'),
      );
      assert.equal(answers, [
        { queued: ['y', 'a'], sent: ['x'], canceled: 0 },
        { queued: ['y'], sent: [], canceled: 0 },
        { queued: ['z'], sent: [], canceled: 0 },
        { queued: [], sent: [], canceled: 1 },
      ]);
      assert.is((await store.executions.get({ command: 'c3', device: 'x' }))?.state, 'sent');
      assert.is((await store.executions.get({ command: 'c3', device: 'y' }))?.state, 'queued');
    },
  );

  rule(
    'a command that is canceled or has expired goes to nobody, also where there is a route',
    async (store) => {
      await addDevice(store, 'a');
      const routes = new Map([['a', { incarnation: 'inc', session: 1 }]]);
      await store.commands.create(newCommand('c1'));
      await store.commands.requestCancel('c1', T0);
      assert.equal(await store.commands.expand('c1', 9, T0, routes), {
        queued: [],
        sent: [],
        superseded: [],
        done: true,
      });
      await store.commands.create(newCommand('c2', { expiresAt: T0 + 1 }));
      assert.equal((await store.commands.expand('c2', 9, T0 + 1, routes)).queued, ['a']);
    },
  );

  rule('rows made after a cancel are canceled at once', async (store) => {
    await addDevices(store, 'd', 3);
    await store.commands.create(newCommand('c1'));
    await store.commands.expand('c1', 1, T0);
    assert.is(await store.commands.requestCancel('c1', T0 + 5), true);
    assert.is(await store.commands.requestCancel('c1', T0 + 6), true);
    assert.is(await store.commands.requestCancel('nope', T0), false);
    assert.is((await store.commands.get('c1'))?.cancelRequestedAt, T0 + 5);
    assert.equal(await store.commands.expand('c1', 5, T0), {
      queued: [],
      sent: [],
      superseded: [],
      done: true,
    });
    assert.is((await store.commands.counts(['c1'])).get('c1')?.canceled, 2);
  });

  rule(
    "a command that is skipped where a device is offline takes nobody's place until it is sent",
    async (store) => {
      await addDevices(store, 'd', 2);
      await addCommand(store, 'c1', { collapseKey: 'k' });
      await store.commands.create(newCommand('c2', { collapseKey: 'k', offline: 'skip' }));
      assert.equal((await store.commands.expand('c2', 10, T0)).superseded, []);
      assert.equal(await store.executions.supersedeStale(['d0000', 'd0001'], T0), []);
      await store.executions.markSent([sent('c2', 'd0000')], T0);
      assert.equal(await store.executions.supersedeStale(['d0000', 'd0001'], T0), [
        { command: 'c1', device: 'd0000' },
      ]);
    },
  );

  rule('a newer command supersedes what is queued with its collapse key, and nothing else', async (store) => {
    await addDevices(store, 'd', 3);
    await addCommand(store, 'c1', { collapseKey: 'k' });
    await addCommand(store, 'c2', { collapseKey: 'other' });
    await addCommand(store, 'c3');
    await store.executions.markSent([sent('c1', 'd0001')], T0);
    await store.devices.setBlocked('d0002', T0);
    await store.commands.create(newCommand('c4', { collapseKey: 'k' }));
    const { superseded } = await store.commands.expand('c4', 10, T0 + 9);
    assert.equal(superseded, [{ command: 'c1', device: 'd0000' }]);
    const old = await store.executions.get({ command: 'c1', device: 'd0000' });
    assert.is(old?.state, 'superseded');
    assert.is(old?.finishedAt, T0 + 9);
  });

  rule(
    'what falls back to queued behind a newer command of its key is marked to be superseded',
    async (store) => {
      await addDevices(store, 'd', 2);
      await addCommand(store, 'c1', { collapseKey: 'k' });
      await store.executions.markSent([sent('c1', 'd0000'), sent('c1', 'd0001')], T0);
      await addCommand(store, 'c2', { collapseKey: 'k', target: { devices: ['d0000'] } });
      await store.executions.requeueIncarnation('inc-1', 10);
      // It was sent: its end may be on its way.
      assert.equal(await store.executions.supersedeStale(['d0000', 'd0001'], T0), []);
      const marked = async (device: string) =>
        (await store.executions.get({ command: 'c1', device }))?.ending?.how ?? null;
      assert.equal([await marked('d0000'), await marked('d0001')], ['supersede', null]);
    },
  );

  rule('a command is finished when it is expanded and nothing of it is open, once', async (store) => {
    const [device] = (await addDevices(store, 'd', 1)) as [string];
    await store.commands.create(newCommand('c1'));
    await store.commands.create(newCommand('c2', { target: { group: 'nowhere' } }));
    assert.equal(await store.commands.finishIfDone(['c1', 'c2'], T0), []);
    await store.commands.expand('c1', 10, T0);
    await store.commands.expand('c2', 10, T0);
    assert.equal(await store.commands.finishIfDone(['c1', 'c2', 'nope'], T0 + 1), ['c2']);
    assert.equal(await store.commands.openIds(10), ['c1']);
    await store.executions.advance([report('c1', device, 'succeeded', { finishedAt: T0 + 2 })]);
    assert.equal(await store.commands.finishIfDone(['c1', 'c2'], T0 + 3), ['c1']);
    assert.is((await store.commands.get('c1'))?.finishedAt, T0 + 3);
    assert.is(await store.commands.requestCancel('c1', T0), false);
  });

  rule('the sweep over open commands reaches every one of them', async (store) => {
    for (let i = 0; i < 5; i++) await store.commands.create(newCommand(`c${i}`, { expiresAt: T0 + (i % 2) }));
    const seen = [
      ...(await store.commands.openIds(2)),
      ...(await store.commands.openIds(2)),
      ...(await store.commands.openIds(2)),
    ];
    assert.equal(seen.sort(), ['c0', 'c1', 'c2', 'c3', 'c4']);
    assert.is((await store.commands.openIds(2)).length, 2);
  });

  rule('commands are listed newest first, by type, state and device', async (store) => {
    await addDevices(store, 'd', 2);
    await addCommand(store, 'c1');
    await addCommand(store, 'c2', { type: 'message', target: { devices: ['d0001'] } });
    await addCommand(store, 'c3', { target: { devices: [] } });
    await store.commands.finishIfDone(['c3'], T0);
    const listed = async (filter: Parameters<typeof store.commands.list>[0]) =>
      (await store.commands.list(filter, { limit: 9 })).items.map((c) => c.id);
    assert.equal(await listed({}), ['c3', 'c2', 'c1']);
    assert.equal(await listed({ type: 'message' }), ['c2']);
    assert.equal(await listed({ state: 'open' }), ['c2', 'c1']);
    assert.equal(await listed({ state: 'finished' }), ['c3']);
    assert.equal(await listed({ device: 'd0000' }), ['c1']);
    const page = await store.commands.list({}, { limit: 1 });
    await store.commands.create(newCommand('c4'));
    const next = await store.commands.list({}, { limit: 5, cursor: page.next ?? '' });
    assert.equal(
      next.items.map((c) => c.id),
      ['c2', 'c1'],
    );
  });

  rule('pruning takes finished commands with their executions, and leaves the rest', async (store) => {
    await addDevices(store, 'd', 3);
    for (const id of ['c1', 'c2', 'c3']) await addCommand(store, id);
    for (const [id, at] of [
      ['c1', 10],
      ['c2', 20],
    ] as const) {
      for (const device of ['d0000', 'd0001', 'd0002']) {
        await store.executions.advance([report(id, device, 'failed', { finishedAt: at })]);
      }
      await store.commands.finishIfDone([id], at);
    }
    assert.is(await store.commands.prune(20, 5), 1);
    assert.is(await store.commands.get('c1'), null);
    assert.is(await store.executions.get({ command: 'c1', device: 'd0000' }), null);
    assert.is((await store.commands.counts(['c2'])).get('c2')?.failed, 3);
    assert.is((await store.commands.counts(['c3'])).get('c3')?.queued, 3);
  });

  rule('devices stored as connected with something queued are found', async (store) => {
    await addDevices(store, 'd', 4);
    await store.devices.applySessions(['d0000', 'd0001', 'd0003'].map((d) => connect(d, 1)));
    await addCommand(store, 'c1', { target: { devices: ['d0000', 'd0001', 'd0002'] } });
    await store.executions.markSent([sent('c1', 'd0001')], T0);
    assert.equal(await store.executions.connectedWithQueued(10), ['d0000']);
    await store.devices.setBlocked('d0000', T0);
    assert.equal(await store.executions.connectedWithQueued(10), []);
  });
}
