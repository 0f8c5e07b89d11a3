/** Groups, devices, tokens, gateways. */
import * as assert from 'uvu/assert';
import { Problem } from '../../admin-api/problems.ts';
import type { Page } from '../../admin-api/store/records.ts';
import { addDevice, addDevices, connect, disconnect, T0 } from './store-fixtures.ts';
import type { Rule } from './store-under-test.ts';

export async function refused(code: string, work: () => unknown): Promise<void> {
  try {
    await work();
  } catch (error) {
    assert.instance(error, Problem, String(error));
    assert.is((error as Problem).code, code);
    return;
  }
  assert.unreachable(`expected the problem ${code}`);
}

async function all<T>(page: (cursor: string | undefined) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const { items: more, next } = await page(cursor);
    items.push(...more);
    cursor = next ?? undefined;
  } while (cursor !== undefined);
  return items;
}

export function inventoryRules(rule: Rule): void {
  const group = (id: string, parentId = 'all') => ({ id, parentId, name: `Group ${id}`, createdAt: T0 });

  rule('there is a root group from the start, which cannot be moved or deleted', async (store) => {
    assert.is((await store.groups.get('all'))?.path, 'all/');
    await store.groups.create(group('a'));
    await refused('conflict', () => store.groups.move('all', 'a'));
    await refused('conflict', () => store.groups.delete('all'));
  });

  rule('a group needs a parent that exists and an id that is free', async (store) => {
    assert.is((await store.groups.create(group('a'))).path, 'all/a/');
    await refused('unknown-reference', () => store.groups.create(group('b', 'nowhere')));
    await refused('conflict', () => store.groups.create(group('a')));
  });

  rule('groups nest no deeper than a device can be told', async (store) => {
    let parent = 'all';
    for (let i = 1; i < 32; i++) {
      await store.groups.create(group(`g${i}`, parent));
      parent = `g${i}`;
    }
    await refused('conflict', () => store.groups.create(group('deeper', parent)));
    await store.groups.create(group('top'));
    await refused('conflict', () => store.groups.move('g1', 'top'));
  });

  rule('moving a group moves its subtree and grows the membership revisions in it alone', async (store) => {
    await store.groups.create(group('a'));
    await store.groups.create(group('a_b', 'a'));
    await store.groups.create(group('a-b'));
    await store.groups.create(group('c'));
    await addDevice(store, 'in', 'a_b');
    await addDevice(store, 'out', 'a-b');
    await refused('conflict', () => store.groups.move('a', 'a'));
    await refused('conflict', () => store.groups.move('a', 'a_b'));
    await refused('unknown-reference', () => store.groups.move('a', 'nowhere'));
    await refused('not-found', () => store.groups.move('nowhere', 'a'));
    await store.groups.move('a', 'c');
    assert.is((await store.groups.get('a'))?.path, 'all/c/a/');
    assert.is((await store.groups.get('a'))?.parentId, 'c');
    assert.is((await store.groups.get('a_b'))?.path, 'all/c/a/a_b/');
    assert.is((await store.groups.get('a_b'))?.parentId, 'a');
    assert.is((await store.groups.get('a-b'))?.path, 'all/a-b/');
    const first = await store.groups.scan('', 2);
    const scanned = [...first, ...(await store.groups.scan(first.at(-1)?.id ?? '', 9))];
    assert.equal(
      scanned.map(({ id, path }) => [id, path]).sort(),
      [
        ['a', 'all/c/a/'],
        ['a-b', 'all/a-b/'],
        ['a_b', 'all/c/a/a_b/'],
        ['all', 'all/'],
        ['c', 'all/c/'],
      ].sort(),
    );
    assert.is((await store.devices.get('in'))?.membershipRevision, 2);
    assert.is((await store.devices.get('out'))?.membershipRevision, 1);
  });

  rule('only an empty group is deleted', async (store) => {
    for (const id of ['a', 'b', 'c', 'd']) await store.groups.create(group(id));
    await store.groups.create(group('below', 'a'));
    await addDevice(store, 'dev', 'b');
    const token = {
      id: 'e1',
      publicKey: new Uint8Array(32),
      groupId: 'c',
      note: '',
      usesLeft: 1,
      usesMax: 1,
      expiresAt: Date.now() + 60_000,
      createdAt: T0,
      createdBy: 'system',
      revokedAt: null,
    };
    await store.enrolmentTokens.create(token);
    for (const id of ['a', 'b', 'c']) assert.is(await store.groups.delete(id), 'not-empty');
    await store.enrolmentTokens.revoke('e1', T0);
    assert.is(await store.groups.delete('c'), 'deleted');
    assert.is(await store.groups.delete('d'), 'deleted');
    assert.is(await store.groups.delete('d'), 'unknown');
  });

  rule('groups are listed by parent and text, with the devices directly in them', async (store) => {
    await store.groups.create({ ...group('a'), name: 'Bürö 100%' });
    await store.groups.create(group('b', 'a'));
    await addDevice(store, 'd1', 'a');
    const page = await store.groups.list({ limit: 10, parent: 'all' });
    assert.equal(
      page.items.map(({ id, devices }) => [id, devices]),
      [['a', 1]],
    );
    assert.is((await store.groups.list({ limit: 10, text: 'BÜRÖ 100%' })).items.length, 1);
    assert.is((await store.groups.list({ limit: 10, text: '1%0' })).items.length, 0);
    await store.groups.rename('a', 'Office');
    assert.is((await store.groups.list({ limit: 10, text: 'office' })).items.length, 1);
  });

  rule('a device comes back as it was put in, by id and by key', async (store) => {
    const publicKey = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
    const device = {
      id: 'dev-1',
      groupId: 'all',
      name: 'Näme 😀',
      platform: 'linux',
      software: 's',
      publicKey,
    };
    await store.devices.create({ ...device, createdAt: 1_777_777_777_777 });
    const found = await store.devices.byPublicKey(publicKey);
    assert.equal(found, await store.devices.get('dev-1'));
    assert.equal(found?.publicKey, publicKey);
    assert.is(found?.name, 'Näme 😀');
    assert.is(found?.createdAt, 1_777_777_777_777);
    assert.is(found?.connected, false);
    assert.is(found?.membershipRevision, 1);
    assert.is(await store.devices.get('dev-2'), null);
    await refused('conflict', () => addDevice(store, 'dev-1'));
    await refused('conflict', () => store.devices.create({ ...device, id: 'dev-2', createdAt: T0 }));
    await refused('unknown-reference', () => addDevice(store, 'dev-3', 'nowhere'));
  });

  rule('text no database can keep is kept with replacement characters', async (store) => {
    await addDevice(store, 'd');
    await store.devices.rename('d', 'a\0b\ud800c');
    assert.is((await store.devices.get('d'))?.name, 'a\ufffdb\ufffdc');
    await store.devices.applyStatus([{ device: 'd', number: 1, policy: 'p\0\udfff' }]);
    assert.is((await store.devices.get('d'))?.policy, 'p\ufffd\ufffd');
  });

  rule('the text filter takes wildcards literally and folds case', async (store) => {
    await addDevices(store, 'dev', 3);
    await store.devices.rename('dev0000', '50%_ÄB\\');
    const found = async (text: string) =>
      (await store.devices.list({ text }, { limit: 9 })).items.map((d) => d.id);
    assert.equal(await found('50%_äb\\'), ['dev0000']);
    assert.equal(await found('%'), ['dev0000']);
    assert.equal(await found('_'), ['dev0000']);
    assert.equal(await found('DEV0001'), ['dev0001']);
    assert.equal(await found('nothing'), []);
  });

  rule('devices that were told to go elsewhere count until they are somewhere', async (store) => {
    for (const id of ['d1', 'd2', 'd3', 'd4', 'd5']) await addDevice(store, id);
    const left = (device: string, session: number, code: number, at = T0 + 20) => ({
      ...{ device, session, at },
      disconnected: { code, reason: '' },
    });
    await store.devices.applySessions(['d1', 'd2', 'd3', 'd4', 'd5'].map((id) => connect(id, 1)));
    assert.is(await store.devices.sentAwayFrom('gw1', 0), 0);
    await store.devices.applySessions([
      left('d1', 1, 4000),
      left('d2', 1, 4001),
      left('d3', 1, 1006),
      left('d4', 1, 4200),
      left('d5', 1, 4000, T0 + 10),
    ]);
    assert.is(await store.devices.sentAwayFrom('gw1', T0 + 20), 2);
    assert.is(await store.devices.sentAwayFrom('gw1', 0), 3);
    assert.is(await store.devices.sentAwayFrom('gw2', 0), 0);
    await store.devices.applySessions([connect('d1', 2)]);
    assert.is(await store.devices.sentAwayFrom('gw1', T0 + 20), 1);
    await store.devices.setBlocked('d2', T0);
    assert.is(await store.devices.sentAwayFrom('gw1', T0 + 20), 0);
  });

  rule('devices are filtered by subtree, state and gateway', async (store) => {
    await store.groups.create(group('a'));
    await store.groups.create(group('b', 'a'));
    await addDevice(store, 'd1', 'a');
    await addDevice(store, 'd2', 'b');
    await addDevice(store, 'd3');
    await store.devices.applySessions([connect('d2', 1), connect('d3', 2)]);
    await store.devices.setBlocked('d3', T0);
    assert.is(await store.devices.count({ group: 'a' }), 2);
    assert.is(await store.devices.count({ group: 'all' }), 3);
    assert.is(await store.devices.count({ group: 'nowhere' }), 0);
    assert.is(await store.devices.count({ state: 'connected' }), 1);
    assert.is(await store.devices.count({ state: 'disconnected' }), 1);
    assert.is(await store.devices.count({ state: 'blocked' }), 1);
    assert.is(await store.devices.count({ gateway: 'gw1', group: 'a' }), 1);
    assert.equal(await store.devices.connectedByGateway(), { gw1: 2 });
    await store.devices.setBlocked('d3', null);
    assert.is(await store.devices.count({ state: 'connected' }), 2);
  });

  rule('pages follow one another by id, whatever is added and removed between them', async (store) => {
    await addDevices(store, 'dev', 10);
    const first = await store.devices.list({}, { limit: 4 });
    await addDevice(store, 'dev0000x');
    await addDevice(store, 'dev0005x');
    await store.devices.delete('dev0003', T0);
    const rest = await all((cursor) =>
      store.devices.list({}, { limit: 4, cursor: cursor ?? first.next ?? '' }),
    );
    assert.equal(
      [...first.items, ...rest].map((d) => d.id),
      [0, 1, 2, 3, 4, 5, '5x', 6, 7, 8, 9].map((i) => `dev000${i}`),
    );
    for (const cursor of ['', '!', 'bm9wZQ', Buffer.from('[1]').toString('base64url')]) {
      await refused('bad-request', () => store.devices.list({}, { limit: 4, cursor }));
    }
  });

  rule('a device that is moved gets a newer membership, in a group that exists', async (store) => {
    await store.groups.create(group('a'));
    await addDevice(store, 'd');
    await store.devices.changeGroup('d', 'a');
    const [device] = await store.devices.withPaths(['d', 'unknown']);
    assert.is(device?.groupPath, 'all/a/');
    assert.is(device?.membershipRevision, 2);
    const publicKey = device?.publicKey;
    const says = { id: 'd', publicKey, blockedAt: null, membershipRevision: 2, groupPath: 'all/a/' };
    assert.equal(await store.devices.memberships(['d', 'unknown', 'd']), [says]);
    assert.equal(await store.devices.memberships([]), []);
    await refused('unknown-reference', () => store.devices.changeGroup('d', 'nowhere'));
    await refused('not-found', () => store.devices.changeGroup('unknown', 'a'));
    await refused('not-found', () => store.devices.rename('unknown', 'x'));
    await refused('not-found', () => store.devices.setBlocked('unknown', 1));
    await store.devices.setBlocked('d', 1);
    assert.is((await store.devices.get('d'))?.membershipRevision, 3);
    assert.is(await store.devices.delete('d', T0), true);
    assert.is(await store.devices.delete('d', T0), false);
  });

  rule(
    'S-8: that a device was deleted is kept with the next revision, until it is forgotten',
    async (store) => {
      for (const id of await addDevices(store, 'dev', 3)) await store.devices.delete(id, T0);
      await addDevice(store, 'later');
      await store.devices.delete('later', T0 + 5);
      const gone = (id: string) => ({ id, revision: 2 });
      assert.equal(await store.deletedDevices.ofIds(['later', 'unknown']), [gone('later')]);
      assert.equal(await store.deletedDevices.ofIds([]), []);
      const first = await store.deletedDevices.scan('', 2);
      const rest = await store.deletedDevices.scan(first[1]?.id ?? '', 2);
      assert.equal(
        [...first, ...rest].map(({ revision }) => revision),
        [2, 2, 2, 2],
      );
      assert.is((await store.deletedDevices.forget(T0 + 5, 2)).length, 2);
      assert.is((await store.deletedDevices.forget(T0 + 5, 2)).length, 1);
      assert.equal(await store.deletedDevices.scan('', 9), [gone('later')]);
      await addDevice(store, 'moved');
      const to = { url: 'https://push.example.org', fingerprint: new Uint8Array(32).fill(7) };
      await store.devices.delete('moved', T0 + 9, { to });
      const moved = { ...gone('moved'), to };
      assert.equal(await store.deletedDevices.ofIds(['moved']), [moved]);
      assert.equal(await store.deletedDevices.scan('', 9), [gone('later'), moved]);
    },
  );

  rule('K-6, H-12: keys that a device had are refused, and those of a split one for good', async (store) => {
    const key = (n: number) => new Uint8Array(32).fill(n);
    const { refusedKeys } = store;
    for (const [id, n] of [
      ['gone', 90],
      ['split', 91],
    ] as const) {
      await addDevice(store, id);
      await store.devices.setPublicKey(id, key(n));
      for (let at = 1; at <= 5; at++) await refusedKeys.rotated(id, key(n - 10 * at), T0 + at, 3);
      // The newest three stay.
      const found = await Promise.all([1, 2, 3, 4, 5].map((at) => refusedKeys.why(key(n - 10 * at))));
      assert.equal(found, [null, null, 'rotated', 'rotated', 'rotated']);
      assert.equal(await refusedKeys.rotations(id, T0 + 3), [T0 + 5, T0 + 4]);
    }
    assert.is(await refusedKeys.why(key(91)), null);
    await store.devices.delete('gone', T0 + 9);
    await store.devices.delete('split', T0 + 9, { refuseKey: true });
    assert.is(await refusedKeys.why(key(60)), null);
    // Deletions are forgotten after a while; that two programs had the key is not.
    assert.is((await store.deletedDevices.forget(T0 + 10, 9)).length, 2);
    assert.equal(await Promise.all([key(41), key(61), key(91)].map((each) => refusedKeys.why(each))), [
      'split',
      'split',
      'split',
    ]);
  });

  rule('scanning devices passes each once', async (store) => {
    const ids = await addDevices(store, 'dev', 7);
    const seen: string[] = [];
    for (let after = ''; ; after = seen.at(-1) as string) {
      const page = await store.devices.scan(after, 3);
      seen.push(...page.map((d) => d.id));
      if (page.length < 3) break;
    }
    assert.equal(seen, ids);
    assert.equal(
      (await store.devices.getMany(['dev0002', 'x', 'dev0001', 'dev0002'])).map((d) => d.id),
      ['dev0001', 'dev0002'],
    );
  });

  rule('a connect counts only when its session is newer than the stored one', async (store) => {
    await addDevice(store, 'd');
    assert.equal(await store.devices.applySessions([connect('d', 5), connect('unknown', 1)]), {
      connected: ['d'],
      disconnected: [],
    });
    const device = await store.devices.get('d');
    assert.is(device?.connected, true);
    assert.is(device?.software, 'agent 1.1');
    assert.equal(device?.caps, ['sync']);
    assert.equal(await store.devices.applySessions([connect('d', 5), connect('d', 4)]), {
      connected: [],
      disconnected: [],
    });
    assert.equal((await store.devices.applySessions([connect('d', 6, 'inc-2')])).connected, ['d']);
    assert.is((await store.devices.get('d'))?.incarnation, 'inc-2');
  });

  rule('a device names itself until it is renamed', async (store) => {
    await addDevice(store, 'd');
    const before = (await store.devices.get('d'))?.name ?? '';
    const rows = [
      { device: 'd', name: 'till-2' },
      { device: 'unknown', name: 'x' },
    ];
    assert.equal(await store.devices.applyNames(rows), [{ device: 'd', name: 'till-2', before }]);
    assert.equal(await store.devices.applyNames(rows), []);
    assert.is(await store.devices.count({ text: 'TILL-2' }), 1);
    await store.devices.rename('d', 'front service');
    assert.equal(await store.devices.applyNames(rows), []);
    assert.is((await store.devices.get('d'))?.name, 'front service');
  });

  rule('sessions that a copy ended are counted, from one again after an hour without', async (store) => {
    await addDevice(store, 'd');
    const HOUR = 3_600_000;
    const counts = [];
    for (const at of [1_000, 2_000, 2_000 + HOUR, 2_001 + 2 * HOUR]) {
      const [device] = await store.devices.applyDisplaced(['d', 'unknown'], at);
      counts.push([device?.displacedCount, device?.displacedAt]);
    }
    assert.equal(counts, [
      [1, 1_000],
      [2, 2_000],
      [3, 2_000 + HOUR],
      [1, 2_001 + 2 * HOUR],
    ]);
  });

  rule(
    'a disconnect of an older session, and a connect after its own disconnect, change nothing',
    async (store) => {
      await addDevice(store, 'd');
      await store.devices.applySessions([connect('d', 5)]);
      assert.equal((await store.devices.applySessions([disconnect('d', 4)])).disconnected, []);
      assert.equal((await store.devices.applySessions([disconnect('d', 7)])).disconnected, ['d']);
      assert.equal(
        await store.devices.applySessions([connect('d', 6), connect('d', 7), disconnect('d', 7)]),
        {
          connected: [],
          disconnected: [],
        },
      );
      const device = await store.devices.get('d');
      assert.is(device?.connected, false);
      assert.is(device?.session, 7);
      assert.is(device?.closeCode, 1006);
      assert.is(device?.gateway, 'gw1');
    },
  );

  rule('a session that began and ended in one batch leaves the device disconnected', async (store) => {
    await addDevices(store, 'd', 2);
    await store.devices.applySessions([connect('d0001', 1)]);
    const both = (device: string) => ({ ...connect(device, 3), disconnected: { code: 1000, reason: 'bye' } });
    assert.equal(await store.devices.applySessions([both('d0000'), both('d0001')]), {
      connected: [],
      disconnected: ['d0001'],
    });
    assert.is((await store.devices.get('d0000'))?.connectedAt, T0 + 3);
  });

  rule(
    'devices of a worker that is gone are marked disconnected, a bounded number at a time',
    async (store) => {
      await addDevices(store, 'd', 5);
      const names = ['d0000', 'd0001', 'd0002'];
      await store.devices.applySessions([
        ...names.map((d) => connect(d, 1, 'gone')),
        connect('d0003', 1, 'here'),
      ]);
      assert.equal(await store.devices.incarnations(), ['gone', 'here']);
      assert.is((await store.devices.disconnectIncarnation('gone', T0, 2)).length, 2);
      assert.is((await store.devices.disconnectIncarnation('gone', T0, 2)).length, 1);
      assert.is((await store.devices.disconnectIncarnation('gone', T0, 2)).length, 0);
      assert.equal(await store.devices.incarnations(), ['here']);
    },
  );

  rule('B-5: only a status with a larger number than the one before counts', async (store) => {
    await addDevices(store, 'd', 2);
    const status = [
      { device: 'd0000', number: 5, policy: 'p1' },
      { device: 'unknown', number: 5, policy: 'p' },
    ];
    assert.equal(await store.devices.applyStatus(status), ['d0000']);
    assert.equal(await store.devices.applyStatus(status), []);
    // As a device whose number is its server's time.
    const late = { device: 'd0000', number: T0, compliance: 'warn' as const };
    assert.equal(await store.devices.applyStatus([late]), ['d0000']);
    // As one that is replayed.
    assert.equal(await store.devices.applyStatus([{ device: 'd0000', number: 6, policy: 'p0' }]), []);
    assert.is((await store.devices.get('d0000'))?.policy, 'p1');
    assert.is((await store.devices.get('d0000'))?.compliance, 'warn');
  });

  rule('an enrolment token is used as often as it says, and not when expired or revoked', async (store) => {
    const token = (n: number) => ({
      id: `e${n}`,
      publicKey: new Uint8Array(32).fill(n),
      groupId: 'all',
      note: 'n',
      usesLeft: 2,
      usesMax: 2,
      expiresAt: 100,
      createdAt: 1,
      createdBy: 'system',
      revokedAt: null,
    });
    for (const n of [1, 2, 3]) await store.enrolmentTokens.create(token(n));
    const uses = await Promise.all([1, 2, 3].map(() => store.enrolmentTokens.use('e1', 50)));
    assert.equal(uses.map((use) => ('token' in use ? use.token.usesLeft : use.refused)).sort(), [
      0,
      1,
      'used-up',
    ]);
    assert.equal(await store.enrolmentTokens.use('e2', 100), { refused: 'expired' });
    assert.is(await store.enrolmentTokens.revoke('e3', 5), true);
    assert.is(await store.enrolmentTokens.revoke('e3', 6), false);
    assert.equal(await store.enrolmentTokens.use('e3', 50), { refused: 'revoked' });
    assert.equal(await store.enrolmentTokens.use('e9', 50), { refused: 'unknown' });
    assert.is((await store.enrolmentTokens.get('e3'))?.revokedAt, 5);
    assert.is((await store.enrolmentTokens.get('e1'))?.usesLeft, 0);
    assert.equal((await store.enrolmentTokens.get('e2'))?.publicKey, token(2).publicKey);
    assert.is((await all((cursor) => store.enrolmentTokens.list({ limit: 2, cursor }))).length, 3);
    await refused('unknown-reference', () =>
      store.enrolmentTokens.create({ ...token(4), groupId: 'nowhere' }),
    );
  });

  rule('an API token is found by its hash, and counts only while usable', async (store) => {
    const hash = new Uint8Array(32).fill(7);
    const token = {
      id: 't1',
      name: 'first',
      role: 'admin' as const,
      createdAt: 1,
      createdBy: 'system',
      expiresAt: 100,
      revokedAt: null,
      lastUsedAt: null,
    };
    assert.is(await store.apiTokens.any('admin', 1), false);
    await store.apiTokens.create({ ...token, hash });
    assert.equal(await store.apiTokens.byHash(hash), token);
    assert.is(await store.apiTokens.byHash(new Uint8Array(32)), null);
    assert.is(await store.apiTokens.any('admin', 99), true);
    assert.is(await store.apiTokens.any('admin', 100), false);
    assert.is(await store.apiTokens.any('viewer', 1), false);
    await store.apiTokens.touch('t1', 42);
    assert.is((await store.apiTokens.list({ limit: 5 })).items[0]?.lastUsedAt, 42);
    assert.is(await store.apiTokens.revoke('t1', 43), true);
    assert.is(await store.apiTokens.any('admin', 44), false);
  });

  rule('devices are counted and listed where they are connected, by their own group', async (store) => {
    await store.groups.create(group('a'));
    for (const id of ['d1', 'd2', 'd3']) await addDevice(store, id, 'a');
    await addDevice(store, 'd4');
    await addDevice(store, 'd5');
    await store.devices.applySessions(['d1', 'd2', 'd4', 'd3'].map((id) => connect(id, 1)));
    await store.devices.applySessions([disconnect('d3', 1)]);
    const placements = await store.devices.placements();
    assert.equal(
      placements.sort((a, b) => (a.groupId < b.groupId ? -1 : 1)),
      [
        { groupId: 'a', groupPath: 'all/a/', gateway: 'gw1', near: '', devices: 2 },
        { groupId: 'all', groupPath: 'all/', gateway: 'gw1', near: '', devices: 1 },
      ],
    );
    const here = (
      gateway: string,
      near: string,
      page: { after?: string; before?: number; limit?: number } = {},
    ) =>
      store.devices.connectedIn(
        gateway,
        { groupId: 'a', near },
        { after: '', before: Number.MAX_SAFE_INTEGER, limit: 10, ...page },
      );
    assert.equal(await here('gw1', ''), ['d1', 'd2']);
    assert.equal(await here('gw1', '', { after: 'd1' }), ['d2']);
    assert.equal(await here('gw1', '', { limit: 1 }), ['d1']);
    assert.equal(await here('gw1', '', { before: 0 }), []);
    assert.equal(await here('gw2', ''), []);
    const measured = [{ name: 'gw1', ms: 2 }];
    await store.devices.applyMeasures([
      { device: 'd2', near: 'gw1', measured },
      { device: 'nobody', near: 'gw1', measured },
    ]);
    assert.equal([await here('gw1', ''), await here('gw1', 'gw1')], [['d1'], ['d2']]);
    assert.equal((await store.devices.get('d2'))?.measured, measured);
    assert.is((await store.devices.placements()).length, 3);
    await store.devices.applyMeasures([{ device: 'd2', near: '', measured: [] }]);
    assert.equal((await store.devices.get('d2'))?.measured, []);
    assert.is((await store.devices.placements()).length, 2);
    assert.equal(await store.devices.countByGroup(), [
      { groupId: 'all', groupPath: 'all/', devices: 2 },
      { groupId: 'a', groupPath: 'all/a/', devices: 3 },
    ]);
  });

  rule("a gateway's name is taken once, and each change grows its revision", async (store) => {
    const gateway = {
      name: 'gw1',
      groupId: 'all',
      runPushServer: true,
      port: 13_295,
      address: 'push.example',
      connectionLimit: 50_000,
      revision: 1,
      drainingSince: null,
      drainedAt: null,
      createdAt: T0,
      updatedAt: T0,
    };
    assert.is(await store.gateways.create(gateway), true);
    assert.is(await store.gateways.create({ ...gateway, port: 1 }), false);
    assert.equal(await store.gateways.get('gw1'), gateway);
    assert.equal(await store.gateways.update('gw1', { runPushServer: false, port: 2 }, T0 + 1), {
      ...gateway,
      runPushServer: false,
      port: 2,
      revision: 2,
      updatedAt: T0 + 1,
    });
    assert.is(await store.gateways.update('gw2', { port: 2 }, T0), null);
    await refused('unknown-reference', () => store.gateways.update('gw1', { groupId: 'nowhere' }, T0));
    await refused('unknown-reference', () => store.gateways.create({ ...gateway, name: 'b', groupId: 'x' }));
    const draining = await store.gateways.setDraining('gw1', T0 + 2, T0 + 2);
    assert.equal([draining?.drainingSince, draining?.drainedAt, draining?.revision], [T0 + 2, null, 3]);
    assert.is(await store.gateways.setDraining('gw1', T0 + 3, T0 + 3), null);
    assert.is(await store.gateways.markDrained('gw1', 2, T0 + 4), false);
    assert.is(await store.gateways.markDrained('gw1', 3, T0 + 4), true);
    assert.is(await store.gateways.markDrained('gw1', 3, T0 + 5), false);
    assert.is((await store.gateways.get('gw1'))?.drainedAt, T0 + 4);
    const back = await store.gateways.setDraining('gw1', null, T0 + 6);
    assert.equal([back?.drainingSince, back?.drainedAt, back?.revision], [null, null, 4]);
    assert.is(await store.gateways.setDraining('gw1', null, T0 + 7), null);
    assert.is(await store.gateways.markDrained('gw1', 4, T0 + 8), false);
    assert.is((await store.gateways.all()).length, 1);
    assert.is((await store.gateways.list({ limit: 1 })).next, null);
    assert.is(await store.gateways.delete('gw1'), true);
    assert.is(await store.gateways.delete('gw1'), false);
  });
}
