/** Tunnels: limits, what workers say of them, moves, ends. */
import * as assert from 'uvu/assert';
import type { NewTunnel, Store, TunnelReport } from '../../admin-api/store/store.ts';
import { addCommand, addDevice, T0 } from './store-fixtures.ts';
import type { Rule, StoreUnderTest } from './store-under-test.ts';

const LIMITS = { perDevice: 2, perOperator: 3 };

function turn(commandId: string, incarnation = 'inc-1') {
  return { gateway: 'gw1', worker: 'gw1/0', incarnation, commandId, joinBy: T0 + 60_000 };
}

function tunnel(id: string, change: Partial<NewTunnel> = {}): NewTunnel {
  return {
    id,
    deviceId: 'd1',
    host: '127.0.0.1',
    port: 22,
    reason: 'printer is stuck',
    createdBy: 't1',
    createdAt: T0,
    expiresAt: T0 + 3_600_000,
    end: null,
    at: turn(`c-${id}`),
    ...change,
  };
}

async function add(store: Store, id: string, change: Partial<NewTunnel> = {}): Promise<void> {
  assert.is(await store.tunnels.create(tunnel(id, change), { perDevice: 100, perOperator: 100 }), 'created');
}

const joined = (tunnel: string, side: 'device' | 'operator', incarnation = 'inc-1'): TunnelReport => ({
  tunnel,
  incarnation,
  here: { side, joined: true },
});

export function tunnelRules(rule: Rule, under: StoreUnderTest): void {
  rule(
    'as many tunnels are live as there may be for a device and for an operator, and no more',
    async (store) => {
      const other = await under.second(store);
      const answers = await Promise.all(
        ['u1', 'u2', 'u3', 'u4'].map((id, i) => (i % 2 ? other : store).tunnels.create(tunnel(id), LIMITS)),
      );
      assert.equal(answers.filter((answer) => answer === 'created').length, 2);
      assert.equal(answers.filter((answer) => answer === 'device-full').length, 2);
      assert.is(await store.tunnels.create(tunnel('u5', { deviceId: 'd2' }), LIMITS), 'created');
      assert.is(await store.tunnels.create(tunnel('u6', { deviceId: 'd3' }), LIMITS), 'operator-full');
      assert.is(
        await store.tunnels.create(tunnel('u7', { deviceId: 'd3', createdBy: 't2' }), LIMITS),
        'created',
      );
      const { items } = await store.tunnels.list({ device: 'd1' }, { limit: 10 });
      await store.tunnels.end([{ id: items[0]?.id ?? '', code: 'closed', reason: 'by hand' }], T0 + 1);
      assert.is(await store.tunnels.create(tunnel('u8'), LIMITS), 'created');
    },
  );

  rule(
    'a tunnel that cannot be is recorded all the same, ended, and counts against no limit',
    async (store) => {
      const end = { code: 'device-offline', reason: 'The device is not connected.' };
      for (const id of ['u1', 'u2', 'u3']) {
        assert.is(await store.tunnels.create(tunnel(id, { at: null, end }), LIMITS), 'created');
      }
      const record = await store.tunnels.get('u1');
      assert.equal([record?.state, record?.end, record?.turn, record?.at], ['ended', end, 0, null]);
      assert.is(record?.endedAt, T0);
      assert.equal(await store.tunnels.dependencies(T0), []);
    },
  );

  rule('a tunnel is open once both ends are there, and that is told once', async (store) => {
    await add(store, 'u1');
    assert.is((await store.tunnels.get('u1'))?.state, 'opening');
    const first = await store.tunnels.apply([joined('u1', 'operator')], T0 + 1);
    assert.equal(first.opened, []);
    const both = [
      joined('u1', 'device'),
      { tunnel: 'u1', incarnation: 'inc-1', here: { side: 'operator', joined: false } },
    ];
    const second = await store.tunnels.apply(both as TunnelReport[], T0 + 2);
    assert.equal(
      second.opened.map(({ id, openedAt }) => [id, openedAt]),
      [['u1', T0 + 2]],
    );
    assert.equal((await store.tunnels.apply([joined('u1', 'operator')], T0 + 3)).opened, []);
    const record = await store.tunnels.get('u1');
    assert.equal([record?.state, record?.deviceHere, record?.operatorHere], ['open', true, true]);
  });

  rule('bytes are totals that never shrink, whatever comes late or twice', async (store) => {
    await add(store, 'u1');
    const count = (n: number, bytesUp: number, bytesDown: number): TunnelReport => ({
      tunnel: 'u1',
      incarnation: `inc-${n}`,
      bytesUp,
      bytesDown,
      streams: 3,
    });
    await store.tunnels.apply([count(1, 10, 5), count(1, 20, 8), count(1, 10, 5)], T0);
    await store.tunnels.move('u1', 1, turn('c2', 'inc-2'), T0 + 1);
    await store.tunnels.apply([count(2, 1e12, 2), count(1, 21, 9)], T0 + 2);
    const record = await store.tunnels.get('u1');
    assert.equal([record?.bytesUp, record?.bytesDown, record?.streams], [1e12 + 21, 11, 3]);
  });

  rule('a tunnel moves once from each worker, and the one it left cannot end it', async (store) => {
    const other = await under.second(store);
    await add(store, 'u1');
    await store.tunnels.apply([joined('u1', 'device'), joined('u1', 'operator')], T0);
    const moves = await Promise.all([
      store.tunnels.move('u1', 1, turn('c2', 'inc-2'), T0 + 1),
      other.tunnels.move('u1', 1, turn('c3', 'inc-3'), T0 + 1),
    ]);
    assert.is(moves.filter(Boolean).length, 1);
    const moved = moves.find(Boolean);
    assert.equal([moved?.turn, moved?.state, moved?.deviceHere], [2, 'open', false]);
    const late: TunnelReport = {
      tunnel: 'u1',
      incarnation: 'inc-1',
      end: { code: 'operator-lost', reason: 'late' },
    };
    assert.equal((await store.tunnels.apply([late, joined('u1', 'device')], T0 + 2)).ended, []);
    assert.is((await store.tunnels.get('u1'))?.deviceHere, false);
    assert.equal(await store.tunnels.liveByIncarnation(), new Map([[moved?.at?.incarnation ?? '', 1]]));
    const now: TunnelReport = {
      tunnel: 'u1',
      incarnation: moved?.at?.incarnation ?? '',
      end: { code: 'idle', reason: 'nothing said' },
    };
    const on = moved?.at?.incarnation;
    assert.equal((await store.tunnels.apply([joined('u1', 'device', on)], T0 + 3)).arrived, []);
    const both = await store.tunnels.apply([joined('u1', 'operator', on)], T0 + 3);
    assert.equal([both.arrived, both.opened], [[{ id: 'u1', left: 'inc-1' }], []]);
    assert.is((await store.tunnels.apply([now], T0 + 3)).ended[0]?.end?.code, 'idle');
    assert.is(await store.tunnels.move('u1', 2, turn('c4'), T0 + 4), null);
  });

  rule('a worker that goes on under a new incarnation is known by its name', async (store) => {
    await add(store, 'u1');
    const count = (incarnation: string, bytesUp: number) =>
      store.tunnels.apply([{ tunnel: 'u1', incarnation, bytesUp }], T0, (asked) =>
        asked === 'inc-9' ? 'gw1/0' : 'gw1/1',
      );
    await count('inc-8', 5);
    await count('inc-9', 7);
    const record = await store.tunnels.get('u1');
    assert.equal([record?.bytesUp, record?.at?.incarnation], [7, 'inc-9']);
    await store.tunnels.end([{ id: 'u1', code: 'closed', reason: '' }], T0);
    await count('inc-10', 9);
    assert.is((await store.tunnels.get('u1'))?.bytesUp, 7);
  });

  rule('a tunnel ends once, for the first reason there was', async (store) => {
    await add(store, 'u1');
    const ended = await store.tunnels.end(
      [
        { id: 'u1', onTurn: 2, code: 'gateway-lost', reason: 'other turn' },
        { id: 'u1', onTurn: 1, code: 'gateway-lost', reason: 'gone\0' },
        { id: 'u1', code: 'closed', reason: 'too late' },
        { id: 'none', code: 'closed', reason: 'no such' },
      ],
      T0 + 5,
    );
    assert.equal(
      ended.map(({ id, end, endedAt }) => [id, end, endedAt]),
      [['u1', { code: 'gateway-lost', reason: 'gone\ufffd' }, T0 + 5]],
    );
    assert.equal((await store.tunnels.apply([joined('u1', 'device')], T0 + 6)).opened, []);
    assert.is((await store.tunnels.get('u1'))?.state, 'ended');
  });

  rule('refused joins are counted, and told of ten times', async (store) => {
    await add(store, 'u1');
    let told = 0;
    for (let i = 0; i < 15; i++) {
      told += (await store.tunnels.apply([{ tunnel: 'u1', incarnation: 'inc-1', refused: true }], T0)).refused
        .length;
    }
    assert.is(told, 10);
    assert.is((await store.tunnels.get('u1'))?.refused, 15);
    assert.equal(
      (await store.tunnels.apply([{ tunnel: 'none', incarnation: 'inc-1', refused: true }], T0)).refused,
      [],
    );
  });

  rule('what a live tunnel depends on is known: its command, its operator, its device', async (store) => {
    const token = {
      name: 'x',
      role: 'operator' as const,
      createdAt: T0,
      createdBy: 'system',
      lastUsedAt: null,
    };
    const hash = (n: number) => new Uint8Array(32).fill(n);
    const ends = { expiresAt: null, revokedAt: null };
    await store.apiTokens.create({ ...token, ...ends, id: 't1', hash: hash(1) });
    await store.apiTokens.create({ ...token, ...ends, expiresAt: T0 + 10, id: 't2', hash: hash(2) });
    for (const id of ['d1', 'd2']) await addDevice(store, id);
    await addCommand(store, 'c-u1', { target: { devices: ['d1'] } });
    await store.executions.finish([{ command: 'c-u1', device: 'd1' }], ['queued'], 'canceled', 'offline', T0);
    await store.devices.setBlocked('d2', T0);
    await add(store, 'u1');
    await add(store, 'u2', { deviceId: 'd2', createdBy: 't2' });
    await add(store, 'u3', { deviceId: 'd3', createdBy: 't3' });
    await add(store, 'u4');
    await store.tunnels.end([{ id: 'u4', code: 'closed', reason: '' }], T0);
    const facts = async (now: number) =>
      (await store.tunnels.dependencies(now)).map(({ tunnel, command, tokenEnded, device }) => [
        tunnel.id,
        command?.state ?? null,
        tokenEnded,
        device,
      ]);
    assert.equal(await facts(T0), [
      ['u1', 'canceled', false, 'enrolled'],
      ['u2', null, false, 'blocked'],
      ['u3', null, true, 'deleted'],
    ]);
    assert.equal((await facts(T0 + 10))[1], ['u2', null, true, 'blocked']);
    await store.apiTokens.revoke('t1', T0 + 1);
    assert.equal((await facts(T0 + 1))[0], ['u1', 'canceled', true, 'enrolled']);
  });

  rule('lists are newest first, filtered, in pages; what ended long ago can be dropped', async (store) => {
    for (const n of [1, 2, 3, 4, 5]) await add(store, `u${n}`, { deviceId: n % 2 ? 'd1' : 'd2' });
    await store.tunnels.end([{ id: 'u2', code: 'closed', reason: '' }], T0 + 1);
    await store.tunnels.end([{ id: 'u3', code: 'closed', reason: '' }], T0 + 9);
    const ids = async (filter: Parameters<Store['tunnels']['list']>[0]) =>
      (await store.tunnels.list(filter, { limit: 10 })).items.map(({ id }) => id);
    assert.equal(await ids({}), ['u5', 'u4', 'u3', 'u2', 'u1']);
    assert.equal(await ids({ device: 'd1', state: 'live' }), ['u5', 'u1']);
    assert.equal(await ids({ state: 'ended' }), ['u3', 'u2']);
    assert.equal(await ids({ createdBy: 'nobody' }), []);
    const page = await store.tunnels.list({}, { limit: 3 });
    const rest = await store.tunnels.list({}, { limit: 3, cursor: page.next ?? '' });
    assert.equal([page.items.length, rest.items.map(({ id }) => id), rest.next], [3, ['u2', 'u1'], null]);
    assert.is(await store.tunnels.prune(T0 + 5, 100), 1);
    assert.equal(await ids({ state: 'ended' }), ['u3']);
    assert.is(await store.tunnels.get('u2'), null);
  });
}
