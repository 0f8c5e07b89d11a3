import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reduceReceipts } from '../../admin-api/ledger/reduce-receipts.ts';
import type { LedgerReceipt } from '../../admin-api/ledger-receipt.ts';

const NOW = 1_800_000_000_000;

const connected = (device: string, session: number): LedgerReceipt => ({
  kind: 'connected',
  device,
  session,
  incarnation: 'i1',
  worker: 'gw1/0',
  gateway: 'gw1',
  address: '127.0.0.1',
  software: 'test',
  caps: [],
  membership: [1, 1],
  at: NOW,
});
const disconnected = (device: string, session: number): LedgerReceipt => ({
  kind: 'disconnected',
  device,
  session,
  code: 1001,
  reason: '',
  at: NOW,
});

test('of several sessions of a device only the newest is applied, and all older ones count as ended', () => {
  const reduced = reduceReceipts([connected('d1', 7), disconnected('d1', 5), connected('d1', 6)], NOW);
  assert.is(reduced.sessions.length, 1);
  assert.is(reduced.sessions[0]?.session, 7);
  assert.ok(reduced.sessions[0]?.connected);
  assert.not.ok(reduced.sessions[0]?.disconnected);
  assert.equal(reduced.endedSessions, [{ device: 'd1', session: 6 }]);
  assert.equal(reduced.connected, [{ device: 'd1', session: 7, membership: [1, 1] }]);
});

test('a session that began and ended in one batch is not treated as connected', () => {
  const reduced = reduceReceipts([disconnected('d1', 7), connected('d1', 7)], NOW);
  assert.equal(reduced.connected, []);
  assert.equal(reduced.endedSessions, [{ device: 'd1', session: 7 }]);
  assert.ok(reduced.sessions[0]?.connected);
  assert.ok(reduced.sessions[0]?.disconnected);
});

test('receipts of one execution in any order reduce to the furthest state with what all of them said', () => {
  const ack: LedgerReceipt = { kind: 'ack', device: 'd1', command: 'c1', at: NOW - 30 };
  const progress: LedgerReceipt = {
    kind: 'progress',
    device: 'd1',
    command: 'c1',
    percent: 40,
    note: 'half',
    at: NOW - 20,
  };
  const result: LedgerReceipt = {
    kind: 'result',
    device: 'd1',
    command: 'c1',
    state: 'failed',
    reason: 'exit status 1',
    data: { exitStatus: 1 },
    worker: 'gw1/0',
    at: NOW - 10,
  };
  const orders = [
    [ack, progress, result],
    [result, progress, ack],
    [progress, result, ack, ack],
  ];
  for (const order of orders) {
    const [advance, ...others] = reduceReceipts(order, NOW).advances;
    assert.equal(others, []);
    assert.is(advance?.state, 'failed');
    assert.is(advance?.ackedAt, NOW - 30);
    assert.is(advance?.startedAt, NOW - 20);
    assert.is(advance?.finishedAt, NOW - 10);
    assert.is(advance?.percent, 40);
    assert.is(advance?.note, 'half');
    assert.is(advance?.reason, 'exit status 1');
    assert.equal(advance?.data, { exitStatus: 1 });
  }
});

test('of two different ends of one execution the first stands, the second says where the device is', () => {
  const end = (state: 'succeeded' | 'failed', worker: string): LedgerReceipt => ({
    kind: 'result',
    device: 'd1',
    command: 'c1',
    state,
    worker,
    at: NOW,
  });
  const [advance] = reduceReceipts([end('succeeded', 'gw1/0'), end('failed', 'gw2/1')], NOW).advances;
  assert.is(advance?.state, 'succeeded');
  assert.is(advance?.worker, 'gw2/1');
});

test('R-1: a result alone is the acknowledgement as well, at its own time', () => {
  const result: LedgerReceipt = {
    kind: 'result',
    device: 'd1',
    command: 'c1',
    state: 'succeeded',
    worker: 'gw1/0',
    at: NOW - 10,
  };
  const [advance] = reduceReceipts([result], NOW).advances;
  assert.is(advance?.ackedAt, NOW - 10);
  assert.is(advance?.finishedAt, NOW - 10);
  assert.is(advance?.startedAt, null);
});

test('the later progress replaces the earlier one', () => {
  const progress = (percent: number): LedgerReceipt => ({
    kind: 'progress',
    device: 'd1',
    command: 'c1',
    percent,
    at: NOW,
  });
  assert.is(reduceReceipts([progress(10), progress(80)], NOW).advances[0]?.percent, 80);
});

test('a worker whose clock is an hour ahead or a year behind does not bend the record', () => {
  const ack = (at: number): LedgerReceipt => ({ kind: 'ack', device: 'd1', command: 'c1', at });
  assert.is(reduceReceipts([ack(NOW + 3_600_000)], NOW).advances[0]?.ackedAt, NOW);
  assert.is(reduceReceipts([ack(NOW - 365 * 86_400_000)], NOW).advances[0]?.ackedAt, NOW);
  assert.is(reduceReceipts([ack(NOW - 1000)], NOW).advances[0]?.ackedAt, NOW - 1000);
});

test('undelivered devices are gathered by worker, lost outboxes once', () => {
  const undelivered = (command: string, devices: string[]): LedgerReceipt => ({
    kind: 'undelivered',
    command,
    devices,
    incarnation: 'i1',
    at: NOW,
  });
  const lost: LedgerReceipt = { kind: 'outbox-lost', incarnation: 'i2', at: NOW };
  const reduced = reduceReceipts(
    [undelivered('c1', ['d1', 'd2']), undelivered('c2', ['d1']), lost, lost],
    NOW,
  );
  assert.equal(reduced.undelivered.get('i1'), [
    { command: 'c1', device: 'd1' },
    { command: 'c1', device: 'd2' },
    { command: 'c2', device: 'd1' },
  ]);
  assert.equal(reduced.lostOutboxes, ['i2']);
});

test.run();
