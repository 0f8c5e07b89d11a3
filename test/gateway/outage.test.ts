import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { CLOSE, encodeGatewayMessage } from '../../protocol/index.ts';
import { makeResult } from '../results.ts';
import { waitFor } from '../wait.ts';
import { connectDevice, prove, RawDevice, SERVER_KEYS } from './raw-device.ts';
import { CuttableBus, Rig, withRig } from './rig.ts';

test('while the bus is away sockets stay, beats are answered, and nobody is admitted', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    const newcomer = await rig.enrol();
    const halfway = new RawDevice(rig.url);
    await waitFor(() => halfway.received.length === 1);
    rig.bus.cut(true);
    device.send({ t: 'beat' });
    await device.take('beat');
    await prove(halfway, newcomer);
    assert.is((await halfway.closed()).code, CLOSE.notReady);
    const late = new RawDevice(rig.url);
    await late.closed();
    assert.is(late.refused?.status, 503);
    const readiness = rig.worker.readiness();
    assert.not(readiness.ready);
    assert.is(readiness.dependencies.bus?.reason, 'cut off');
    rig.bus.cut(false);
    await connectDevice(rig.url, newcomer);
    device.send({ t: 'beat' });
    await device.take('beat');
  }));

test('results and acknowledgements sent while the bus is down arrive in order once it is back', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    await rig.receipt('connected');
    rig.bus.cut(true);
    for (let i = 0; i < 50; i++) device.send({ t: 'ack', id: `c${i}` });
    for (let i = 0; i < 50; i++) device.send(makeResult(identity, `c${i}`));
    device.send({ t: 'beat' });
    await device.take('beat');
    await waitFor(async () => (await rig.metric('receipt_append_retries_total')) > 0);
    assert.is(await rig.metric('receipts_spooled'), 100);
    rig.bus.cut(false);
    await rig.receipt('result', ({ command }) => command === 'c49');
    const said = rig.receipts.flatMap((receipt) =>
      receipt.kind === 'ack' || receipt.kind === 'result' ? [`${receipt.kind} ${receipt.command}`] : [],
    );
    assert.equal(
      said,
      ['ack', 'result'].flatMap((kind) => Array.from({ length: 50 }, (_, i) => `${kind} c${i}`)),
    );
    assert.is(await rig.metric('receipts_spooled'), 0);
  }));

test('R-7: at the bound the gateway hands results back; once repeated, none is missing', () =>
  withRig({ config: { receiptSpool: 40, resultRetryMs: 1_000 } }, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    await rig.receipt('connected');
    rig.bus.cut(true);
    for (let i = 0; i < 50; i++) {
      device.send({ t: 'ack', id: `c${i}` });
      device.send(makeResult(identity, `c${i}`));
    }
    device.send({ t: 'beat' });
    await waitFor(() => device.received.some(({ t }) => t === 'beat'));
    const keeps = device.received.flatMap((message) => (message.t === 'keep' ? [message] : []));
    const kept = new Set(keeps.map(({ id }) => id));
    assert.ok(kept.size >= 10 && keeps.every(({ retryMs }) => retryMs === 1_000));
    assert.is(await rig.metric('results_handed_back_total'), kept.size);
    assert.is(await rig.metric('receipts_spooled'), 40);
    assert.is(await rig.metric('receipts_dropped_total', 'result'), 0);
    assert.is(await rig.metric('receipts_spool_fill'), 1);
    assert.ok((await rig.metric('receipts_waiting_seconds')) > 0);
    rig.bus.cut(false);
    await waitFor(async () => (await rig.metric('receipts_spooled')) === 0);
    for (const id of kept) device.send(makeResult(identity, id));
    await waitFor(() => rig.receipts.filter(({ kind }) => kind === 'result').length >= 50);
    const results = rig.receipts.flatMap((receipt) => (receipt.kind === 'result' ? [receipt.command] : []));
    assert.equal(results.sort(), Array.from({ length: 50 }, (_, i) => `c${i}`).sort());
  }));

test('an outbox entry appended while the worker could not read is delivered when it can', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    const incarnation = await rig.incarnation();
    rig.bus.cut(true);
    const frame = encodeGatewayMessage({ t: 'settled', id: 'c1', state: 'succeeded' });
    await rig.bus.inner.outboxes.append(incarnation, [{ devices: [identity.id], frame }]);
    device.send({ t: 'beat' });
    await device.take('beat');
    assert.is(device.received.length, 0);
    rig.bus.cut(false);
    assert.is((await device.take('settled')).id, 'c1');
  }));

test('a worker started without a bus listens, admits nobody, and admits when the bus is there', async () => {
  const bus = new CuttableBus(new MemoryBus());
  await bus.start();
  bus.cut(true);
  const rig = new Rig({ bus });
  try {
    await rig.worker.start();
    const early = new RawDevice(rig.url);
    await early.closed();
    assert.is(early.refused?.status, 503);
    bus.cut(false);
    await rig.putKeys([SERVER_KEYS]);
    await rig.makeWhole();
    const identity = await rig.enrol();
    await waitFor(() => rig.worker.readiness().ready);
    await connectDevice(rig.url, identity);
  } finally {
    await rig.stop();
    await bus.stop();
  }
});

test.run();
