import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { makeResult } from '../results.ts';
import { waitFor } from '../wait.ts';
import { connectDevice } from './raw-device.ts';
import { withRig } from './rig.ts';

const BYTES = 32_000;
const BURST = 320_000;
const config = { bytesPerSecond: 1_024, byteBurst: BURST, resultRetryMs: 60_000 };

test('F-7: a device has bytes as well as messages; results over them are kept by it, and come later', () =>
  withRig({ config }, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    const { device: beside } = await connectDevice(rig.url, await rig.enrol());
    const data = new Uint8Array(BYTES);
    for (let n = 0; n < 30; n++) device.send(makeResult({ id: 'd' }, `c${n}`, { state: 'succeeded', data }));
    const kept = () => device.received.filter(({ t }) => t === 'keep').length;
    await waitFor(() => kept() >= 20, { what: 'results that are handed back' });
    device.send({ t: 'beat' });
    await device.take('beat');
    const results = () => rig.receipts.filter(({ kind }) => kind === 'result').length;
    await waitFor(() => results() + kept() === 30, { what: 'each result to be taken or handed back' });
    assert.ok(results() >= 8 && results() <= 10, `${results()} results of ${BYTES} bytes passed on`);
    // What is short and needed goes on: it is what a device says that has much to say.
    device.send({ t: 'ack', id: 'later' });
    await rig.receipt('ack', ({ command }) => command === 'later');
    beside.send(makeResult({ id: 'd' }, 'mine', { state: 'succeeded', data }));
    await rig.receipt('result', ({ command }) => command === 'mine');
    assert.is(device.closing, null);
    assert.is(await rig.metric('results_handed_back_total'), kept());
  }));

test.run();
