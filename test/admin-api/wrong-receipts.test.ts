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
import { DeviceSecrets } from '../../admin-api/device-secrets.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Store } from '../../admin-api/store/store.ts';
import type { Receipt } from '../../bus/bus.ts';
import type { MemoryReceipts } from '../../bus/memory/receipts.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { decodeGatewayMessage, encodeValue, type ResultBody } from '../../protocol/index.ts';
import { resultMac, resultReceipt } from '../results.ts';
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
  /** Of d1. */
  secret: Uint8Array;
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
    const secret = (await DeviceSecrets.load(store.meta)).of('d1', 1);
    result = (command, end) => resultReceipt({ id: 'd1', secret }, command, at, end);
    await body({
      secret,
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
/** A result that device d1 made. */
let result: (command: string, end?: ResultBody) => Extract<Receipt, { kind: 'result' }>;
const authenticated = { body: Uint8Array.of(0x80), mac: new Uint8Array(32), worker: 'gw1/0' };
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
  { kind: 'status', device: 'd1', ...authenticated, body: new Uint8Array(513), at },
  { kind: 'measured', device: 'd1', measured: [{ name: 'gw1', ms: -1 }], at },
  { kind: 'progress', device: 'd1', command: 'c1', percent: 1.5, at },
  { kind: 'undelivered', command: 'c1', devices: 'd1', incarnation: 'i', at },
  { kind: 'tunnel', tunnel: 'u1', device: 'd1', event: 'exploded', at },
  { kind: 'result', device: 'd1', command: 'c1', ...authenticated, body: 'text', at },
  { kind: 'result', device: 'd1', command: 'c1', ...authenticated, body: new Uint8Array(40_000), at },
  { kind: 'result', device: 'd1', command: 'c1', ...authenticated, mac: new Uint8Array(31), at },
];

/** Bodies whose MAC is good, and which no device may write. */
const WRONG_BODIES: readonly unknown[] = [
  { state: 'queued' },
  { state: 'failed', reason: 'x'.repeat(600) },
  { state: 'succeeded', data: deep() },
  { state: 'succeeded', data: Number.NaN },
  [],
];

test('receipts of a wrong shape are put aside once, counted and told; those beside them are applied', () =>
  withServer(async ({ store, bus, get, append, secret }) => {
    const device = { id: 'd1', secret };
    await addDevice(store, 'd1');
    await addCommand(store, 'c1', { issuedAt: at, expiresAt: at + 3_600_000 });
    const badBodies = WRONG_BODIES.map((value) => {
      const body = encodeValue(value);
      return { ...result('c1'), body, mac: resultMac(device, 'c1', body) };
    });
    await append([...WRONG, ...badBodies, result('c1')]);
    await append(WRONG);
    await waitFor(async () => (await bus.receipts.backlog()) === 0, { what: 'all receipts to be done with' });
    assert.is((await store.executions.get({ command: 'c1', device: 'd1' }))?.state, 'succeeded');
    const { aside } = bus.receipts as unknown as MemoryReceipts;
    assert.is(aside.length, 2 * WRONG.length + WRONG_BODIES.length);
    assert.match(aside.map(({ why }) => why).join('\n'), /ack: command: an identifier/);
    const count = /^pushpoint_admin_receipts_put_aside_total (\d+)$/m.exec(await get('/metrics'))?.[1];
    assert.is(count, String(2 * WRONG.length + WRONG_BODIES.length));
    assert.match(await get('/ready'), /could not be applied and were put aside/);
  }));

test('a receipt that the store refuses every time is found among others and put aside', () =>
  withServer(async ({ store, bus, append, dataDir }) => {
    await addDevice(store, 'd1');
    for (const id of ['c1', 'c2', 'c3']) {
      await addCommand(store, id, { issuedAt: at, expiresAt: at + 3_600_000 });
    }
    const file = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
    file.exec(`create trigger poisoned before update on executions when new.command_id = 'c2'
      begin select raise(abort, 'poisoned'); end`);
    file.close();
    await append([result('c1'), result('c2'), result('c3')]);
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
    const { stringify } = JSON;
    let written = 0;
    JSON.stringify = ((value: { text?: string }, ...more: []) => {
      if (value?.text === data.text) written++;
      return stringify(value, ...more);
    }) as typeof stringify;
    const incarnation = await bus.leases.acquire(WORKER, LOAD, 60_000);
    await bus.presence.claim(incarnation, [{ device: 'd1' }]);
    await append(Array.from({ length: 50 }, (_, n) => result(`made-up-${n}`, { state: 'succeeded', data })));
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
    JSON.stringify = stringify;
    assert.is(written, 0);
    assert.ok(settled.length > 0 && settled.every((it) => it.t === 'settled' && it.state === 'unknown'));
  }));

test('texts of devices come in without control characters, and binary data as base64', () =>
  withServer(async ({ store, append }) => {
    await addDevice(store, 'd1');
    await addCommand(store, 'c1', { issuedAt: at, expiresAt: at + 3_600_000 });
    const bytes = new Uint8Array(1_000).fill(200);
    const data = { bytes, nested: [{ bytes: new Uint8Array(0) }], ok: [1] };
    await append([
      { kind: 'progress', device: 'd1', command: 'c1', note: '\u0007bell\n', at },
      result('c1', { state: 'failed', reason: 'a\u001b[2Jb\n\tc\u202ed\u2028', data }),
    ]);
    const stored = () => store.executions.get({ command: 'c1', device: 'd1' });
    const row = await waitFor(async () => {
      const found = await stored();
      return found?.state === 'failed' && found;
    });
    assert.is(row.reason, 'a [2Jb\n\tc d ');
    assert.is(row.note, ' bell\n');
    assert.equal(row.data, {
      bytes: { base64: Buffer.from(bytes).toString('base64') },
      nested: [{ bytes: { base64: '' } }],
      ok: [1],
    });
  }));

test.run();
