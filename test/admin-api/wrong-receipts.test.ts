/**
 * What stands in the stream of receipts and should not: a whole administration server over a real store and
 * the in-process bus.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AdminServer } from '../../admin-api/admin-server.ts';
import { checkReceipts } from '../../admin-api/ledger/check-receipts.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Store } from '../../admin-api/store/store.ts';
import type { Receipt } from '../../bus/bus.ts';
import type { MemoryReceipts } from '../../bus/memory/receipts.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { decodeGatewayMessage } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { addCommand, addDevice } from './store-fixtures.ts';

const INITIAL = { group: 'all', runPushServer: true, port: 1, address: 'ws://x:1', connectionLimit: 1 };
const WORKER = { worker: 'gw1/0', gateway: 'gw1', host: 'h', pid: 1, version: '1', initial: INITIAL };
const LOAD = {
  ...{ connections: 1, limit: 1, revision: 1, admissionRate: 0, bufferedBytes: 0, memoryBytes: 0, cpu: 0 },
};

interface Deployment {
  dataDir: string;
  /** Messages of the log so far. */
  logged: string[];
  store: Store;
  bus: MemoryBus;
  get(path: string): Promise<string>;
  append(receipts: unknown[]): Promise<unknown>;
}

async function withServer(body: (deployment: Deployment) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'pushpoint-wrong-'));
  const logged: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line) => void logged.push(JSON.parse(line).msg) });
  const store = openStore({ dataDir, log });
  await store.start();
  const bus = new MemoryBus({ log });
  await bus.start();
  const config = { host: '127.0.0.1', port: 0, version: 'test' };
  const server = new AdminServer({ config, store, bus, log, keepFirstToken: () => {} });
  try {
    await server.start();
    await body({
      dataDir,
      logged,
      store,
      bus,
      get: async (at) => (await fetch(`http://127.0.0.1:${server.port}${at}`)).text(),
      append: (receipts) => bus.receipts.append(receipts as Receipt[]),
    });
  } finally {
    await server.stop();
    await bus.stop();
    await store.stop();
    await rm(dataDir, { recursive: true });
  }
}

const at = Date.now();
const result = (command: string, more: object = {}) => {
  return { kind: 'result', device: 'd1', command, state: 'succeeded', at, ...more };
};
const deep = () => {
  let value: unknown = 'x';
  for (let n = 0; n < 40; n++) value = [value];
  return value;
};
const WRONG: unknown[] = [
  null,
  'text',
  7,
  [],
  {},
  { kind: 'toString' },
  { kind: 'nonsense', at },
  { kind: 'ack', device: 'd1', at },
  { kind: 'ack', device: ['d1'], command: 'c1', at },
  { kind: 'ack', device: 'd1', command: 'c1', at: 'now' },
  { kind: 'ack', device: "d1'; --", command: 'c1', at },
  { kind: 'connected', device: 'd1', session: 2 ** 70, at },
  { kind: 'connected', device: 'd1', session: 1, incarnation: {}, worker: 1, at },
  { kind: 'disconnected', device: 'd1', session: 1, code: 1e9, reason: '', at },
  { kind: 'status', device: 'd1', policy: 'x'.repeat(1_000), at },
  { kind: 'progress', device: 'd1', command: 'c1', percent: 1.5, at },
  { kind: 'undelivered', command: 'c1', devices: 'd1', incarnation: 'i', at },
  { kind: 'tunnel', tunnel: 'u1', device: 'd1', event: 'exploded', at },
  { ...result('c1'), state: 'queued' },
  { ...result('c1'), reason: 'x'.repeat(10_000) },
  { ...result('c1'), data: deep() },
];

test('receipts of a wrong shape are put aside once, counted and told; those beside them are applied', () =>
  withServer(async ({ store, bus, get, append }) => {
    await addDevice(store, 'd1');
    await addCommand(store, 'c1', { issuedAt: at, expiresAt: at + 3_600_000 });
    await append([...WRONG, result('c1')]);
    await append(WRONG);
    await waitFor(async () => (await bus.receipts.backlog()) === 0, { what: 'all receipts to be done with' });
    assert.is((await store.executions.get({ command: 'c1', device: 'd1' }))?.state, 'succeeded');
    const { aside } = bus.receipts as unknown as MemoryReceipts;
    assert.is(aside.length, 2 * WRONG.length);
    assert.match(aside.map(({ why }) => why).join('\n'), /ack: command: an identifier/);
    const count = /^pushpoint_admin_receipts_put_aside_total (\d+)$/m.exec(await get('/metrics'))?.[1];
    assert.is(count, String(2 * WRONG.length));
    assert.match(await get('/ready'), /could not be applied and were put aside/);
  }));

test('a receipt that the store refuses every time is found among others and put aside', () =>
  withServer(async ({ store, bus, append }) => {
    await addDevice(store, 'd1');
    for (const id of ['c1', 'c2', 'c3']) {
      await addCommand(store, id, { issuedAt: at, expiresAt: at + 3_600_000 });
    }
    // The shape is right, and JSON cannot be made of it.
    const data = Object.defineProperty({}, 'toJSON', { value: () => assert.unreachable('made into JSON') });
    const poison = result('c2', { data });
    await append([result('c1'), poison, result('c3')]);
    await waitFor(async () => (await bus.receipts.backlog()) === 0, { what: 'all receipts to be done with' });
    const state = async (command: string) => (await store.executions.get({ command, device: 'd1' }))?.state;
    assert.equal([await state('c1'), await state('c3')], ['succeeded', 'succeeded']);
    assert.is.not(await state('c2'), 'succeeded');
    assert.is((bus.receipts as unknown as MemoryReceipts).aside.length, 1);
  }));

test('a store that takes no receipts at all has none put aside: they come again', () =>
  withServer(async ({ store, bus, append, dataDir, logged }) => {
    await addDevice(store, 'd1');
    for (const id of ['c1', 'c2']) await addCommand(store, id, { issuedAt: at, expiresAt: at + 3_600_000 });
    const file = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
    file.exec('alter table executions rename to lost');
    await append([result('c1'), result('c2')]);
    await waitFor(() => logged.includes('receipts were not applied and will be retried'), {
      what: 'the receipts to be refused',
    });
    file.exec('alter table lost rename to executions');
    file.close();
    await waitFor(async () => (await bus.receipts.backlog()) === 0, {
      what: 'all receipts to be done with',
      timeoutMs: 30_000,
    });
    assert.is((bus.receipts as unknown as MemoryReceipts).aside.length, 0);
    for (const command of ['c1', 'c2']) {
      assert.is((await store.executions.get({ command, device: 'd1' }))?.state, 'succeeded');
    }
  }));

test('what a device returns for a command it was not given is not even written down, and it is told so', () =>
  withServer(async ({ store, bus, append }) => {
    await addDevice(store, 'd1');
    const data = { text: 'x'.repeat(30_000) };
    Object.defineProperty(data, 'toJSON', { value: () => assert.unreachable('made into JSON') });
    const incarnation = await bus.leases.acquire(WORKER, LOAD, 60_000);
    await bus.presence.claim(incarnation, [{ device: 'd1' }]);
    await append(Array.from({ length: 50 }, (_, n) => result(`made-up-${n}`, { data })));
    await waitFor(async () => (await bus.receipts.backlog()) === 0, { what: 'all receipts to be done with' });
    assert.is((bus.receipts as unknown as MemoryReceipts).aside.length, 0);
    const { entries } = await waitFor(
      async () => {
        const read = await bus.outboxes.read(incarnation, null, 100);
        return read.entries.length > 0 && read;
      },
      { what: 'the answer' },
    );
    const settled = entries.flatMap(
      ({ delivery }) => decodeGatewayMessage(delivery.frame as Uint8Array) ?? [],
    );
    assert.ok(settled.length > 0 && settled.every((it) => it.t === 'settled' && it.state === 'unknown'));
  }));

test('texts of devices come in without control characters, and binary data as base64', () => {
  const bytes = new Uint8Array(1_000).fill(200);
  const { receipts, wrong } = checkReceipts([
    {
      ...result('c1'),
      reason: 'a\u001b[2Jb\n\tc\u202ed\u2028',
      data: { bytes, big: 2n ** 60n, bad: Number.NaN, ok: [1] },
    },
    { kind: 'progress', device: 'd1', command: 'c1', note: '\u0007bell', at },
  ]);
  assert.equal(wrong, []);
  const [said, progress] = receipts as Record<string, unknown>[];
  assert.is(said?.reason, 'a [2Jb\n\tc d ');
  assert.is(progress?.note, ' bell');
  assert.equal(said?.data, {
    bytes: { base64: Buffer.from(bytes).toString('base64') },
    big: '1152921504606846976',
    bad: 'NaN',
    ok: [1],
  });
  assert.ok(JSON.stringify(said?.data).length < 1_500);
});

test.run();
