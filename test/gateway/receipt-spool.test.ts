import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BusUnavailable, type Receipt, type Receipts } from '../../bus/bus.ts';
import { Metrics } from '../../gateway/metrics.ts';
import { ReceiptSpool, type ReceiptSpoolOptions } from '../../gateway/receipts/spool.ts';
import { waitFor } from '../wait.ts';

class FakeReceipts implements Pick<Receipts, 'append'> {
  batches: Receipt[][] = [];
  answer: () => Promise<'appended' | 'full'> = async () => 'appended';
  underWay = 0;
  mostUnderWay = 0;

  async append(batch: readonly Receipt[]): Promise<'appended' | 'full'> {
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
    try {
      const outcome = await this.answer();
      if (outcome === 'appended') this.batches.push([...batch]);
      return outcome;
    } finally {
      this.underWay--;
    }
  }

  get all(): Receipt[] {
    return this.batches.flat();
  }
}

function makeSpool(options: Partial<ReceiptSpoolOptions> = {}) {
  const receipts = new FakeReceipts();
  const metrics = new Metrics();
  const handedBack: Receipt[] = [];
  const spool = new ReceiptSpool({
    receipts: receipts as unknown as Receipts,
    options: { batch: 500, delayMs: 5, limit: 100, limitBytes: 1e9, ...options },
    metrics,
    log: pino({ level: 'silent' }),
    onResultRefused: (result) => handedBack.push(result),
  });
  return { receipts, metrics, spool, handedBack };
}

const away = () => Promise.reject(new BusUnavailable('away'));
const progress = (n: number): Receipt => ({ kind: 'progress', device: 'd', command: `p${n}`, at: n });
const ack = (n: number): Receipt => ({ kind: 'ack', device: 'd', command: `a${n}`, at: n });
const result = (n: number): Receipt => ({
  kind: 'result',
  device: 'd',
  command: `r${n}`,
  body: new Uint8Array(1),
  mac: new Uint8Array(32),
  worker: 'gw1/0',
  at: n,
});
const kinds = (receipts: Receipt[]) => receipts.map(({ kind }) => kind);

test('receipts travel in batches, one append at a time, in the order they came', async () => {
  const { receipts, spool } = makeSpool({ batch: 10 });
  for (let i = 0; i < 35; i++) spool.add(result(i));
  assert.ok(await spool.flush(Date.now() + 1_000));
  spool.stop();
  assert.equal(
    receipts.batches.map((batch) => batch.length),
    [10, 10, 10, 5],
  );
  assert.is(receipts.mostUnderWay, 1);
  assert.equal(
    receipts.all.map(({ at }) => (typeof at === 'number' ? at : -1)),
    Array.from({ length: 35 }, (_, i) => i),
  );
});

test('a result implies its acknowledgement: an acknowledgement right before it is left out', async () => {
  const { receipts, metrics, spool } = makeSpool();
  const ackOf = (device: string, command: string): Receipt => ({ kind: 'ack', device, command, at: 1 });
  for (const receipt of [
    ackOf('d', 'r1'),
    result(1),
    ackOf('d', 'r2'),
    ackOf('e', 'r2'),
    result(2),
    result(3),
  ]) {
    spool.add(receipt);
  }
  assert.is(spool.size, 5);
  assert.ok(await spool.flush(Date.now() + 1_000));
  spool.stop();
  assert.equal(kinds(receipts.all), ['result', 'ack', 'ack', 'result', 'result']);
  assert.is(metrics.receiptsDropped.get('ack'), 0);
  assert.is(spool.fill, 0);
});

test('a batch that was refused or failed is kept and tried again', async () => {
  const { receipts, metrics, spool } = makeSpool();
  let failures = 0;
  receipts.answer = async () => {
    failures++;
    if (failures === 1) throw new BusUnavailable('away');
    return failures === 2 ? 'full' : 'appended';
  };
  spool.add(result(1));
  await waitFor(() => receipts.all.length === 1);
  spool.stop();
  assert.is(metrics.receiptsRetried, 2);
  assert.is(spool.size, 0);
});

test('at the bound progress goes first, then acknowledgements; new results are handed back', async () => {
  const { receipts, metrics, spool, handedBack } = makeSpool({ limit: 6, batch: 1 });
  receipts.answer = away;
  spool.add({ kind: 'outbox-lost', incarnation: 'i', at: 0 });
  await waitFor(() => metrics.receiptsRetried > 0);
  // The batch on its way counts, so five more fit.
  for (const receipt of [progress(1), ack(1), result(1), progress(2), ack(2)]) spool.add(receipt);
  spool.add(result(2));
  assert.is(metrics.receiptsDropped.get('progress'), 1);
  spool.add(result(3));
  assert.is(metrics.receiptsDropped.get('progress'), 2);
  spool.add(result(4));
  spool.add(result(5));
  assert.is(metrics.receiptsDropped.get('ack'), 2);
  spool.add(result(6));
  assert.equal(handedBack, [result(6)], 'R-7: only results are left, so the device has to keep this one');
  assert.is(metrics.receiptsDropped.get('result'), 0);
  spool.add(progress(3));
  assert.is(metrics.receiptsDropped.get('progress'), 3, 'a newcomer of a lower rank goes itself');
  assert.is(spool.size, 6);
  receipts.answer = async () => 'appended';
  assert.ok(await spool.flush(Date.now() + 2_000));
  spool.stop();
  assert.equal(kinds(receipts.all), ['outbox-lost', 'result', 'result', 'result', 'result', 'result']);
  assert.equal(
    receipts.all.slice(1).map((receipt) => receipt.at),
    [1, 2, 3, 4, 5],
  );
});

test('the bound counts bytes as well', async () => {
  const { receipts, spool, handedBack } = makeSpool({ limit: 1_000, limitBytes: 10_000 });
  receipts.answer = away;
  for (let i = 0; i < 20; i++) spool.add(result(i), 1_000);
  assert.ok(spool.size <= 9);
  assert.is(handedBack.length + spool.size, 20);
  assert.ok(spool.fill > 0.8 && spool.fill <= 1);
  spool.stop();
});

test('R-7: what tells sessions apart is kept before results, and each of those is handed back', async () => {
  const { receipts, metrics, spool, handedBack } = makeSpool({ limit: 4, batch: 1 });
  receipts.answer = away;
  spool.add(result(0));
  await waitFor(() => metrics.receiptsRetried > 0);
  for (let i = 1; i < 4; i++) spool.add(result(i));
  const left = (n: number): Receipt => ({
    kind: 'disconnected',
    device: `d${n}`,
    session: n,
    code: 1006,
    reason: '',
    at: n,
  });
  spool.add(left(1));
  spool.add(left(2));
  assert.equal(handedBack, [result(1), result(2)]);
  spool.add(result(4));
  assert.equal(handedBack.slice(2), [result(4)]);
  receipts.answer = async () => 'appended';
  assert.ok(await spool.flush(Date.now() + 2_000));
  spool.stop();
  assert.equal(receipts.all, [result(0), result(3), left(1), left(2)]);
  assert.is(metrics.receiptsDropped.values.size, 0);
});

test('a hundred thousand receipts at the bound cost no more than a moment', () => {
  const { receipts, spool } = makeSpool({ limit: 20_000 });
  receipts.answer = away;
  const began = performance.now();
  for (let i = 0; i < 100_000; i++) spool.add(i % 3 === 0 ? result(i) : i % 3 === 1 ? ack(i) : progress(i));
  const tookMs = performance.now() - began;
  assert.is(spool.size, 20_000);
  assert.ok(tookMs < 2_000, `${tookMs} ms`);
  spool.stop();
});

test('a flush gives up at its deadline and says so', async () => {
  const { receipts, spool } = makeSpool();
  receipts.answer = away;
  spool.add(result(1));
  assert.not(await spool.flush(Date.now() + 150));
  spool.stop();
  assert.is(spool.size, 1);
});

test.run();
