/** Results and statuses that their devices did not make, at the parts of a whole server. */
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Receipt } from '../../bus/bus.ts';
import { canaryOf } from '../../bus/canary.ts';
import {
  decodeGatewayMessage,
  encodeResultBody,
  encodeStatusBody,
  encodeValue,
} from '../../protocol/index.ts';
import { identity, LONG_MS, load } from '../bus/samples.ts';
import { makeStatusBody, NO_SECRET, resultMac, resultReceipt, statusReceipt } from '../results.ts';
import { type Composed, composed } from './composed.ts';
import { addCommand, addDevices } from './store-fixtures.ts';

const at = Date.now();
const DEVICES = ['d0000', 'd0001'] as const;
const [DEVICE, OTHER] = DEVICES;

async function withServer(body: (server: Composed, logged: string[]) => Promise<void>): Promise<void> {
  const logged: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line) => void logged.push(line) });
  const server = await composed({ log });
  const { store } = server;
  await addDevices(store, 'd', DEVICES.length);
  for (const id of ['c1', 'c2']) await addCommand(store, id, { issuedAt: at, expiresAt: at + LONG_MS });
  await server.leases.start(() => {});
  try {
    await body(server, logged);
  } finally {
    await server.ingest.stop();
    await server.leases.stop();
    await server.stop();
  }
}

const stateOf = async ({ store }: Composed, command = 'c1') =>
  (await store.executions.get({ command, device: DEVICE }))?.state;

const refused = async ({ registry }: Composed) =>
  (await registry.metrics())
    .split('\n')
    .filter((line) => line.startsWith('pushpoint_admin_results_refused_total'));

test('R-8: a result is an end only if the device made it, for this command and with these bytes', () =>
  withServer(async (server) => {
    const { secrets, ingest } = server;
    const good = resultReceipt({ id: DEVICE, secret: secrets.of(DEVICE, 1) }, 'c1', at);
    const forged: Receipt[] = [
      resultReceipt({ id: DEVICE, secret: NO_SECRET }, 'c1', at),
      resultReceipt({ id: DEVICE, secret: secrets.of(OTHER, 1) }, 'c1', at),
      resultReceipt({ id: DEVICE, secret: secrets.of(DEVICE, 2) }, 'c1', at),
      { ...good, command: 'c2' },
      { ...good, device: OTHER },
      { ...good, body: encodeResultBody({ state: 'failed' }) },
      { ...good, mac: new Uint8Array(32) },
    ];
    for (const receipt of forged) await ingest.apply([receipt]);
    const before = await stateOf(server);
    assert.not(['succeeded', 'failed'].includes(before ?? ''));
    assert.is(await stateOf(server, 'c2'), before);
    await ingest.apply([...forged, good, ...forged]);
    assert.is(await stateOf(server), 'succeeded');
    assert.is(await stateOf(server, 'c2'), before);
  }));

test('R-8: a refused result is not settled, and is counted and shown with the worker that brought it', () =>
  withServer(async (server, logged) => {
    const { ingest, forged, bus, store, leases } = server;
    const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
    await bus.presence.claim(incarnation, [{ device: DEVICE }]);
    await leases.refresh();
    const wrong = resultReceipt({ id: DEVICE }, 'c1', at);
    await ingest.apply([wrong, { ...wrong, worker: 'made-up/7' }]);
    for (let n = 0; n < 10; n++) await ingest.apply([wrong]);
    await ingest.stop();
    const { entries } = await bus.outboxes.read(incarnation, null, 100);
    assert.equal(
      entries.map(({ delivery }) => decodeGatewayMessage(delivery.frame as Uint8Array)?.t),
      [],
    );
    assert.equal(await refused(server), [
      `pushpoint_admin_results_refused_total{worker="${identity.worker}"} 11`,
      'pushpoint_admin_results_refused_total{worker="unknown"} 1',
    ]);
    const [warning = ''] = forged.report().warnings ?? [];
    assert.match(warning, `12 results or statuses were refused`);
    assert.match(warning, `device ${DEVICE}, brought by gateway worker ${identity.worker}`);
    const events = (await store.events.after(0, 100)).filter(({ type }) => type === 'result.refused');
    assert.equal(
      events.map(({ data }) => data),
      [identity.worker, 'unknown'].map((worker) => ({ device: DEVICE, command: 'c1', worker, count: 1 })),
      'once a minute, however many there are',
    );
    assert.is(logged.filter((line) => line.includes('reports that their devices did not make')).length, 2);
  }));

test('B-5: a status counts only if the device made it; others are counted and shown', () =>
  withServer(async (server) => {
    const { secrets, ingest, store, bus, leases } = server;
    await bus.leases.acquire(identity, load, LONG_MS);
    await leases.refresh();
    const device = { id: DEVICE, secret: secrets.of(DEVICE, 1) };
    const good = statusReceipt(device, { number: 7, policy: 'p7', compliance: 'warn' }, at);
    // A result is authenticated with the same key, and is still no status.
    const body = encodeStatusBody({ number: 8, policy: 'evil' });
    const forged: Receipt[] = [
      { ...good, mac: new Uint8Array(32) },
      { ...good, device: OTHER },
      { ...good, body },
      { ...good, body, mac: resultMac(device, '', body) },
      statusReceipt({ ...device, secret: secrets.of(DEVICE, 2) }, { number: 8, policy: 'evil' }, at),
    ];
    await ingest.apply([good]);
    for (const receipt of forged) await ingest.apply([{ ...receipt, worker: identity.worker } as Receipt]);
    const { policy, compliance } = (await store.devices.get(DEVICE)) ?? {};
    assert.equal({ policy, compliance }, { policy: 'p7', compliance: 'warn' });
    assert.is((await store.devices.get(OTHER))?.policy, null);
    assert.match(
      await server.registry.metrics(),
      `pushpoint_admin_statuses_refused_total{worker="${identity.worker}"} 5`,
    );
    const events = await store.events.after(0, 100);
    assert.equal(
      events.filter(({ type }) => type === 'status.refused').map(({ data }) => data),
      [{ device: DEVICE, worker: identity.worker, count: 1 }],
    );
    assert.is(events.filter(({ type }) => type === 'device.status').length, 1);
  }));

test('B-5: what the device made and no status may be is put aside; control characters are cleaned', () =>
  withServer(async ({ secrets, ingest, store, aside }) => {
    const device = { id: DEVICE, secret: secrets.of(DEVICE, 1) };
    await ingest.apply([statusReceipt(device, { number: 1, policy: 'p\u001b[1m' }, at)]);
    assert.is((await store.devices.get(DEVICE))?.policy, 'p [1m');
    const long = { number: 2, policy: 'x'.repeat(65) };
    const body = encodeValue(long);
    await ingest.apply([{ ...statusReceipt(device, { number: 2 }, at), ...makeStatusBody(device, body) }]);
    assert.is((await store.devices.get(DEVICE))?.policy, 'p [1m');
    assert.match(aside.report().warnings?.[0] ?? '', '1 receipts could not be applied');
  }));

test('R-8: of a device that has its second secret, the first one is good no more', () =>
  withServer(async (server) => {
    const { secrets, ingest, store, dataDir } = server;
    const file = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
    file.exec(`update devices set generation = 2, offered = 2 where id = '${DEVICE}'`);
    file.close();
    assert.equal([...(await store.devices.generations([DEVICE]))], [[DEVICE, { generation: 2, offered: 2 }]]);
    await ingest.apply([resultReceipt({ id: DEVICE, secret: secrets.of(DEVICE, 1) }, 'c1', at)]);
    assert.is.not(await stateOf(server), 'succeeded');
    await ingest.apply([resultReceipt({ id: DEVICE, secret: secrets.of(DEVICE, 2) }, 'c1', at)]);
    assert.is(await stateOf(server), 'succeeded');
  }));

test('K-6, R-8: the next secret counts beside the former until the device has used it', () =>
  withServer(async (server) => {
    const { secrets, ingest, store, forged } = server;
    const by = (generation: number, command: string) =>
      ingest.apply([resultReceipt({ id: DEVICE, secret: secrets.of(DEVICE, generation) }, command, at)]);
    const generations = async () => (await store.devices.generations([DEVICE])).get(DEVICE);
    await store.devices.offerSecret(DEVICE, 1);
    await store.devices.offerSecret(DEVICE, 1);
    assert.equal(await generations(), { generation: 1, offered: 2 });
    // It did not get the answer.
    await by(1, 'c1');
    assert.is(await stateOf(server, 'c1'), 'succeeded');
    await by(3, 'c2');
    assert.is.not(await stateOf(server, 'c2'), 'succeeded');
    assert.equal(await generations(), { generation: 1, offered: 2 });
    await by(2, 'c2');
    assert.is(await stateOf(server, 'c2'), 'succeeded');
    assert.equal(await generations(), { generation: 2, offered: 2 });
    const refusals = async () => (await refused(server)).map((line) => line.split(' ').at(-1));
    assert.equal(await refusals(), ['1']);
    // Sent just before, and overtaken: nobody's forgery, and not settled.
    await store.refusedKeys.rotated(DEVICE, new Uint8Array(32).fill(9), Date.now(), 32);
    await by(1, 'c1');
    assert.equal(await refusals(), ['1']);
    // It asks again, and says which secret it has.
    await store.devices.offerSecret(DEVICE, 2);
    await store.devices.offerSecret(DEVICE, 3);
    assert.equal(await generations(), { generation: 3, offered: 4 });
    await by(1, 'c1');
    assert.equal(await refusals(), ['2']);
    assert.match(forged.report().warnings?.[0] ?? '', '2 results or statuses were refused');
  }));

test("what is said in a canary's name, which nobody authenticates, ends nothing", () =>
  withServer(async (server) => {
    const { ingest, forged } = server;
    await ingest.apply([resultReceipt({ id: canaryOf('gw1/0') }, 'c1', at)]);
    assert.is.not(await stateOf(server), 'succeeded');
    assert.is(forged.report().warnings, undefined);
  }));

test.run();
