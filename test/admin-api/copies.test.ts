/** Copies of a device (H-12): what proves them, and what only looks like them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, areTwo, withAnswer } from '../../admin-api/ledger/copies.ts';
import type { Copies } from '../../admin-api/store/records.ts';
import type { Receipt } from '../../bus/bus.ts';
import { identity, load } from '../bus/samples.ts';
import { resultReceipt } from '../results.ts';
import { type Composed, composed } from './composed.ts';
import { addCommand, addDevices } from './store-fixtures.ts';

const T = 1_000_000;
const MINUTE = 60_000;
const begun: Copies = { since: T, addresses: [], runs: [] };

function answer(run: string, startedAt: number, at: number, askedAt = at - 100): [Answer, number] {
  return [{ run, upMs: at - startedAt, gateway: 'gw1', askedAt }, at];
}

function after(...answers: [Answer, number][]): Copies {
  return answers.reduce((copies, [one, at]) => withAnswer(copies, one, at), begun);
}

test('H-12: two programs that ran before the asking, and both answered since, are two', () => {
  const copies = after(answer('a', T - MINUTE, T + 200), answer('b', T - MINUTE, T + 20 * MINUTE));
  assert.is(areTwo(copies), true);
  assert.equal(
    copies.runs.map(({ run }) => run),
    ['a', 'b'],
  );
});

test('H-12: one program is one, however often its sessions are ended and it answers', () => {
  const turns = Array.from({ length: 9 }, (_, n) => answer('a', T - MINUTE, T + (n + 1) * MINUTE));
  assert.is(areTwo(after(...turns)), false);
});

test('H-12: a program that starts again is one, whenever it does', () => {
  for (const restartAt of [T - 1_000, T, T + 500, T + 5 * MINUTE]) {
    const before = answer('a', T - MINUTE, T + 200);
    const again = answer('b', restartAt, T + 6 * MINUTE);
    const later = answer('b', restartAt, T + 9 * MINUTE);
    assert.is(areTwo(after(before, again, later)), false, `restart at ${restartAt - T}`);
  }
});

test('H-12: an answer to an older question does not count', () => {
  const old = answer('a', T - MINUTE, T + 200, T - 1);
  assert.is(areTwo(after(old, answer('b', T - MINUTE, T + MINUTE))), false);
});

test('H-12: after a restart among copies, the asking begins again and finds them', () => {
  const restarted = T + 3 * MINUTE;
  const copies = after(
    answer('a', T - MINUTE, T + MINUTE),
    answer('b', restarted, T + 5 * MINUTE),
    answer('a', T - MINUTE, T + 8 * MINUTE),
    answer('b', restarted, T + 9 * MINUTE),
  );
  assert.is(areTwo(copies), true);
});

const DEVICE = 'd0000';

function session(number: number, address: string): Receipt {
  return {
    kind: 'connected',
    device: DEVICE,
    session: number,
    ...{ incarnation: 'i', worker: 'gw1/0', gateway: 'gw1', address, software: 'x' },
    caps: ['identify'],
    membership: [1, 1],
    displaced: true,
    at: Date.now(),
  };
}

async function withServer(body: (server: Composed) => Promise<void>, holdCloned = true): Promise<void> {
  const server = await composed({ config: { holdCloned } });
  try {
    await addDevices(server.store, 'd', 1);
    await body(server);
  } finally {
    await server.ingest.stop();
    await server.stop();
  }
}

const asked = async ({ store }: Composed) =>
  (await store.commands.list({ type: 'identify' }, { limit: 100 })).items.map(({ id }) => id).sort();

function said(server: Composed, command: string, run: string, forged = false): Receipt {
  const end = { state: 'succeeded' as const, data: { run, upMs: 3_600_000, gateway: 'gw1' } };
  const secret = server.secrets.of(DEVICE, forged ? 2 : 1);
  return resultReceipt({ id: DEVICE, secret }, command, Date.now(), end);
}

/** Sessions that end each other, and the questions that follow. */
async function suspected(server: Composed): Promise<string[]> {
  for (const [number, address] of [
    [1, '192.0.2.1'],
    [2, '192.0.2.2'],
    [3, '192.0.2.1'],
  ] as const)
    await server.ingest.apply([session(number, address)]);
  return asked(server);
}

test('H-12: sessions that end each other are asked from the second on, and mark nothing by themselves', () =>
  withServer(async (server) => {
    const questions = await suspected(server);
    assert.is(questions.length, 2);
    const device = await server.store.devices.get(DEVICE);
    assert.equal(device?.copies?.addresses, ['192.0.2.1', '192.0.2.2']);
    assert.is(device?.clonedAt, null);
    await server.ingest.apply(questions.map((id) => said(server, id, 'one')));
    assert.is((await server.store.devices.get(DEVICE))?.clonedAt, null, 'one program, asked twice');
  }));

test('H-12: however often sessions end each other, a device is asked ten times in a minute', () =>
  withServer(async (server) => {
    for (let number = 1; number <= 30; number++) await server.ingest.apply([session(number, '192.0.2.1')]);
    assert.is((await asked(server)).length, 10);
    assert.ok(((await server.store.devices.get(DEVICE))?.displacedCount ?? 0) > 20);
  }));

test('H-12: a carrier that makes up answers, or repeats one, marks nothing', () =>
  withServer(async (server) => {
    const [first = '', second = ''] = await suspected(server);
    const good = said(server, first, 'one');
    const forged = said(server, second, 'two', true);
    await server.ingest.apply([good, good, forged, { ...good, command: second } as Receipt]);
    assert.is((await server.store.devices.get(DEVICE))?.clonedAt, null);
  }));

test('H-12: two programs mark the device; it is shown, and its commands wait until it is released', () =>
  withServer(async (server) => {
    const { store, cloned, ingest } = server;
    const [first = '', second = ''] = await suspected(server);
    await ingest.apply([said(server, first, 'one')]);
    await ingest.apply([said(server, second, 'two')]);
    assert.ok((await store.devices.get(DEVICE))?.clonedAt);
    assert.equal(await store.devices.cloned(), [DEVICE]);
    assert.is(cloned.withheld(DEVICE), true);
    assert.match(cloned.report().warnings?.[0] ?? '', DEVICE);
    const types = (await store.events.after(0, 100)).map(({ type }) => type);
    assert.ok(types.includes('device.cloned'));
    await ingest.apply([session(4, '192.0.2.2')]);
    assert.is((await asked(server)).length, 2, 'who is marked is not asked');
    await addCommand(store, 'c1', { issuedAt: Date.now(), expiresAt: Date.now() + MINUTE });
    server.dispatcher.start();
    const incarnation = await server.bus.leases.acquire(identity, load, MINUTE);
    await server.bus.presence.claim(incarnation, [{ device: DEVICE }]);
    assert.is((await server.dispatcher.routes([DEVICE])).size, 0);
    cloned.forget(DEVICE);
    await store.devices.forgetCopies(DEVICE);
    assert.is((await server.dispatcher.routes([DEVICE])).size, 1);
    assert.equal(await store.devices.cloned(), []);
    await server.dispatcher.stop();
  }));

test('commands for cloned devices are sent unless an operator wants them held', () =>
  withServer(async ({ cloned }) => {
    cloned.add(DEVICE);
    assert.is(cloned.withheld(DEVICE), false);
  }, false));

test.run();
