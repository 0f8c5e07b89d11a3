/** A gateway is believed about devices that are with it, and about no others. */
import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Lease, Receipt } from '../../bus/bus.ts';
import { keyMark } from '../../bus/key-mark.ts';
import type { MemoryReceipts } from '../../bus/memory/receipts.ts';
import { CLOSE, decodeGatewayMessage } from '../../protocol/index.ts';
import { identity, LONG_MS, load } from '../bus/samples.ts';
import { resultReceipt, statusReceipt } from '../results.ts';
import { waitFor } from '../wait.ts';
import { type Composed, composed } from './composed.ts';
import { addCommand, addDevice } from './store-fixtures.ts';

const at = Date.now();

/** `gw1` serves everybody, `gw2` only `branch`, where device `b1` is; `d1` is in `other`. */
async function withServer(body: (server: Composed) => Promise<void>): Promise<void> {
  const server = await composed({});
  const { store } = server;
  for (const id of ['branch', 'other'])
    await store.groups.create({ id, parentId: 'all', name: id, createdAt: at });
  const settings = { runPushServer: true, port: 1, address: 'ws://x', connectionLimit: 9, revision: 1 };
  const times = { drainingSince: null, drainedAt: null, createdAt: at, updatedAt: at };
  for (const [name, groupId] of [
    ['gw1', 'all'],
    ['gw2', 'branch'],
  ] as const) {
    await store.gateways.create({ name, groupId, ...settings, ...times });
  }
  await addDevice(store, 'd1', 'other');
  await addDevice(store, 'b1', 'branch');
  await addCommand(store, 'c1', { issuedAt: at, expiresAt: at + LONG_MS });
  try {
    await body(server);
  } finally {
    await server.ingest.stop();
    await server.stop();
  }
}

/** By its presence the device is with this incarnation, whose lease lives. */
async function holds({ bus }: Composed, incarnation: string, device: string): Promise<void> {
  bus.leases.list = async () => [{ incarnation } as Lease];
  await bus.presence.claim(incarnation, [{ device }]);
}

let session = at * 1_000;

function connected(from: string, device: string, more: Partial<Receipt> = {}): Receipt {
  session += 1;
  const says = { address: '127.0.0.1', software: 'x', caps: [], membership: [1, 1] as [number, number] };
  const worker = { worker: `${from}/0`, gateway: from, incarnation: `${from}~abc` };
  return { kind: 'connected', device, session, ...worker, ...says, at, from, ...more } as Receipt;
}

const ack = (from: string | undefined, device: string, when = at): Receipt => ({
  ...{ kind: 'ack', device, command: 'c1', at: when },
  ...(from !== undefined && { from }),
});

const stateOf = async ({ store }: Composed, device: string) =>
  (await store.executions.get({ command: 'c1', device }))?.state;

const asideOf = ({ bus }: Composed) =>
  (bus.receipts as unknown as MemoryReceipts).aside.map(({ why }) => why);

test('a gateway acknowledges and reports for devices that are with it', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw1', 'd1')]);
    const measured = [{ name: 'gw9', ms: 1 }];
    const measures = (from: string): Receipt => ({ kind: 'measured', device: 'd1', measured, at, from });
    await server.ingest.apply([ack('gw2', 'd1'), measures('gw2')]);
    assert.is.not(await stateOf(server, 'd1'), 'acked');
    assert.equal((await server.store.devices.get('d1'))?.measured, []);
    assert.equal(asideOf(server), Array(2).fill('d1 is not with gateway gw2, which says so'));
    assert.match(server.aside.report().warnings?.[0] ?? '', '2 receipts could not be applied');
    await server.ingest.apply([ack('gw1', 'd1'), measures('gw1')]);
    assert.is(await stateOf(server, 'd1'), 'acked');
    assert.equal((await server.store.devices.get('d1'))?.measured, measured);
  }));

test('a device may come and speak in one batch, or in one that overtakes its coming', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw2', 'b1'), ack('gw2', 'b1')]);
    assert.is(await stateOf(server, 'b1'), 'acked');
    await holds(server, 'gw1~abc', 'd1');
    await server.ingest.apply([ack('gw1', 'd1')]);
    assert.is(await stateOf(server, 'd1'), 'acked');
    assert.equal(asideOf(server), []);
  }));

test('a late receipt from the previous gateway of a device is left out without an alarm', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw2', 'b1')]);
    await server.ingest.apply([connected('gw1', 'b1')]);
    await server.ingest.apply([ack('gw2', 'b1', at - 1)]);
    assert.is.not(await stateOf(server, 'b1'), 'acked');
    assert.equal(asideOf(server), []);
    assert.match(await server.registry.metrics(), /^pushpoint_admin_receipts_late_total 1$/m);
  }));

const disconnected = (from: string, device: string, of: number, when = at): Receipt => ({
  ...{ kind: 'disconnected', device, session: of, code: 1_000, reason: '', at: when, from },
});

test('the end of a session that overtakes its beginning counts', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw1', 'b1')]);
    const beginning = connected('gw2', 'b1', { at: at + 1 });
    await server.ingest.apply([disconnected('gw2', 'b1', session, at + 2)]);
    await server.ingest.apply([beginning]);
    assert.is((await server.store.devices.get('b1'))?.connected, false);
    assert.equal(asideOf(server), []);
    const late = session - 1;
    await server.ingest.apply([connected('gw1', 'b1', { at: at + 3 })]);
    await server.ingest.apply([disconnected('gw2', 'b1', late, at + 4)]);
    assert.is((await server.store.devices.get('b1'))?.connected, true);
    assert.equal(asideOf(server), []);
    assert.match(await server.registry.metrics(), /^pushpoint_admin_receipts_late_total 1$/m);
    await server.ingest.apply([connected('gw1', 'd1')]);
    await server.ingest.apply([disconnected('gw2', 'd1', session + 1)]);
    assert.is((await server.store.devices.get('d1'))?.connected, true);
    assert.equal(asideOf(server), ['d1 is not with gateway gw2, which says so']);
  }));

test('what a gateway says of a device that nobody holds any more is late, and of one elsewhere wrong', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw1', 'b1')]);
    await server.ingest.apply([
      ack('gw2', 'b1', at + 1),
      { kind: 'measured', device: 'b1', measured: [], at: at + 1, from: 'gw2' },
    ]);
    assert.is.not(await stateOf(server, 'b1'), 'acked');
    assert.equal(asideOf(server), []);
    assert.match(await server.registry.metrics(), /^pushpoint_admin_receipts_late_total 2$/m);
    await holds(server, 'gw1~abc', 'b1');
    await server.ingest.apply([ack('gw2', 'b1', at + 1)]);
    assert.equal(asideOf(server), ['b1 is not with gateway gw2, which says so']);
  }));

test('presence is believed of an incarnation whose lease lives, and of devices that its gateway serves', () =>
  withServer(async (server) => {
    await server.bus.presence.claim('gw2~abc', [{ device: 'b1' }, { device: 'd1' }]);
    await server.ingest.apply([ack('gw2', 'b1')]);
    assert.is.not(await stateOf(server, 'b1'), 'acked');
    assert.equal(asideOf(server), []);
    await holds(server, 'gw2~abc', 'd1');
    await server.ingest.apply([ack('gw2', 'd1'), ack('gw2', 'b1')]);
    assert.is.not(await stateOf(server, 'd1'), 'acked');
    assert.is(await stateOf(server, 'b1'), 'acked');
    assert.equal(asideOf(server), ['d1 is not with gateway gw2, which says so']);
  }));

test('a device that left the group of its gateway is spoken for no more, and its session ends', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw2', 'b1')]);
    await server.store.devices.changeGroup('b1', 'other');
    await server.ingest.apply([ack('gw2', 'b1')]);
    assert.is.not(await stateOf(server, 'b1'), 'acked');
    assert.equal(asideOf(server), []);
    assert.match(await server.registry.metrics(), /^pushpoint_admin_receipts_late_total 1$/m);
    await server.ingest.apply([disconnected('gw2', 'b1', session)]);
    assert.is((await server.store.devices.get('b1'))?.connected, false);
  }));

test('a gateway takes no device of a group that it does not serve', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw2', 'd1'), ack('gw2', 'd1'), connected('gw2', 'b1')]);
    assert.is((await server.store.devices.get('d1'))?.connected, false);
    assert.is((await server.store.devices.get('b1'))?.connected, true);
    assert.is.not(await stateOf(server, 'd1'), 'acked');
    assert.equal(asideOf(server)[0], 'd1 is in no group that gateway gw2 serves');
    assert.is(asideOf(server).length, 2);
    await server.ingest.apply([connected('evil', 'b1')]);
    assert.is((await server.store.devices.get('b1'))?.gateway, 'gw2');
  }));

test('K-6: a device that proved an earlier key gets its membership and is sent away', () =>
  withServer(async (server) => {
    const { bus, store, ingest } = server;
    const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
    const read = async () => (await bus.outboxes.read(incarnation, null, 10)).entries;
    const came = async (key: number) => {
      const [claimed] = await bus.presence.claim(incarnation, [{ device: 'd1' }]);
      const more = { session: claimed?.session ?? 0, key } as Partial<Receipt>;
      await ingest.apply([connected('gw1', 'd1', more)]);
      return claimed?.session ?? 0;
    };
    const before = keyMark((await store.devices.get('d1'))?.publicKey ?? new Uint8Array(4));
    await came(before);
    await store.devices.setPublicKey('d1', new Uint8Array(randomBytes(32)));
    const session = await came(before);
    await waitFor(async () => (await read()).some(({ delivery }) => delivery.close), { what: 'the close' });
    const sent = (await read()).map(({ delivery }) => delivery).filter(({ close }) => close);
    assert.is(sent.length, 1);
    assert.equal(sent[0]?.close?.sessions, [session]);
    assert.is(sent[0]?.close?.code, CLOSE.notReady);
    const order = decodeGatewayMessage(sent[0]?.frame ?? new Uint8Array());
    assert.is(order?.t, 'order');
  }));

test('no session is so far ahead that it stays the newest for good', () =>
  withServer(async (server) => {
    const far = Number.MAX_SAFE_INTEGER;
    await server.ingest.apply([connected('gw1', 'd1', { session: far } as Partial<Receipt>)]);
    await server.ingest.apply([connected('gw1', 'd1')]);
    const gone = { code: 1_000, reason: '', at, from: 'gw1' };
    await server.ingest.apply([{ kind: 'disconnected', device: 'd1', session: far, ...gone }]);
    assert.is((await server.store.devices.get('d1'))?.connected, true);
    assert.is(asideOf(server).length, 2);
  }));

test('B-5: a replayed status does not replace a newer one, in whatever order they come', () =>
  withServer(async (server) => {
    const device = { id: 'd1', secret: server.secrets.of('d1', 1) };
    const status = (number: number): Receipt => statusReceipt(device, { number, policy: `p${number}` }, at);
    await server.ingest.apply([connected('gw1', 'd1'), status(2)]);
    await server.ingest.apply([status(4), status(3)]);
    await server.ingest.apply([status(2)]);
    await server.ingest.apply([status(3), status(4), status(2)]);
    assert.is((await server.store.devices.get('d1'))?.policy, 'p4');
    // What it leaves out stays.
    await server.ingest.apply([statusReceipt(device, { number: 9, compliance: 'warn' }, at)]);
    const { policy, compliance } = (await server.store.devices.get('d1')) ?? {};
    assert.equal({ policy, compliance }, { policy: 'p4', compliance: 'warn' });
    assert.equal(asideOf(server), []);
  }));

test('R-8, B-5: a result and a status speak for themselves, whoever brings them', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw1', 'd1')]);
    const device = { id: 'd1', secret: server.secrets.of('d1', 1) };
    const brought = { worker: 'gw2/0', from: 'gw2' };
    await server.ingest.apply([
      { ...resultReceipt(device, 'c1', at), ...brought },
      { ...statusReceipt(device, { number: 1, policy: 'p1' }, at), ...brought },
    ]);
    assert.is(await stateOf(server, 'd1'), 'succeeded');
    assert.is((await server.store.devices.get('d1'))?.policy, 'p1');
  }));

test('X-5: a gateway asks for keys for devices that are with it, so it uses up no answers of others', () =>
  withServer(async (server) => {
    await server.ingest.apply([connected('gw1', 'd1')]);
    const want = { kind: 'want', device: 'd1', group: 'other', epoch: 1, number: 1, at } as const;
    for (let n = 0; n < 40; n++) await server.ingest.apply([{ ...want, from: 'gw2' }]);
    assert.is(asideOf(server).length, 40);
    await server.ingest.apply([{ ...want, from: 'gw1' }]);
    await server.ingest.stop();
    const counted = (await server.registry.metrics()).match(/group_keys_wanted_total\{.*/g);
    const refused = 'group_keys_wanted_total{answer="refused"} 1';
    assert.ok(counted?.includes(refused), 'there is no such key');
    assert.not.ok(counted?.some((line) => line.includes('"later"} 1')));
  }));

test('a bus whose gateways add no MACs is believed', () =>
  withServer(async (server) => {
    await server.ingest.apply([ack(undefined, 'd1')]);
    assert.is(await stateOf(server, 'd1'), 'acked');
  }));

test.run();
