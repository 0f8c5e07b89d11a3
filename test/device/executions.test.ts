import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Aborted,
  Failed,
  type HandlerContext,
  MemoryStore,
  type PushpointDevice,
  Rejected,
} from '../../device/index.ts';
import { fixture } from './fixture.ts';
import { until } from './until.ts';

/** Handlers whose executions end when the test says so. */
function gated() {
  const begun: string[] = [];
  const contexts = new Map<string, HandlerContext>();
  const ends = new Map<string, (error?: Error) => void>();
  const handlers =
    (options = {}) =>
    (device: PushpointDevice) => {
      device.handle(
        'sync',
        (command, context) => {
          begun.push(command.id);
          contexts.set(command.id, context);
          return new Promise((resolve, reject) => {
            ends.set(command.id, (error) => (error ? reject(error) : resolve({ revision: command.id })));
          });
        },
        options,
      );
    };
  const running = (id: string) => until(() => begun.includes(id), `${id} to run`);
  return { begun, contexts, ends, handlers, running };
}

test('D-3, R-1: a command that ends at once brings its result alone', async () => {
  const f = await fixture({
    handlers: (device) => device.handle('sync', (command) => ({ revision: String(command.args.full) })),
  });
  await f.gateway.sendCommand('c1', { args: { full: true } });
  const result = await f.gateway.last.first('result', 'c1');
  assert.equal(result, { t: 'result', id: 'c1', state: 'succeeded', data: { revision: 'true' } });
  const order = f.gateway.last.received.map((message) => message.t);
  assert.equal(order, ['prove', 'result']);
  await f.end();
});

test('D-3: a command that takes longer is acknowledged first, then comes its result', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers() });
  await f.gateway.sendCommand('c1');
  await f.gateway.last.first('ack', 'c1');
  g.ends.get('c1')?.();
  await f.gateway.last.first('result', 'c1');
  const order = f.gateway.last.received.map((message) => message.t);
  assert.equal(
    order.filter((t) => t !== 'progress'),
    ['prove', 'ack', 'result'],
  );
  await f.end();
});

test('D-3, D-5: progress at the start follows the acknowledgement, or gives way to a result', async () => {
  const g = gated();
  const f = await fixture({
    handlers: (device) => {
      g.handlers()(device);
      device.handle('quick', (_, { progress }) => progress(50));
      device.handle('slow', (_, { progress }) => {
        progress(10);
        return new Promise(() => {});
      });
    },
  });
  await f.gateway.sendCommand('c1', { type: 'quick' });
  await f.gateway.last.first('result', 'c1');
  await f.gateway.sendCommand('c2', { type: 'slow' });
  await f.gateway.last.first('progress', 'c2');
  const order = f.gateway.last.received.map((message) => message.t);
  assert.equal(order, ['prove', 'result', 'ack', 'progress']);
  await f.end();
});

test('D-4, R-5: a device that dies before it acknowledged has begun once, and reports so', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers(), options: { pace: { ackAfterMs: 60_000 } } });
  await f.gateway.sendCommand('c1');
  await g.running('c1');
  await f.gateway.sendCommand('c1');
  assert.equal(f.gateway.last.of('ack'), []);
  await f.restart();
  assert.is((await f.gateway.last.first('result', 'c1')).reason, 'interrupted');
  // Nobody has heard of it, so it comes again.
  await f.gateway.sendCommand('c1');
  await until(() => f.gateway.last.of('result', 'c1').length === 2, 'the result again');
  assert.equal(g.begun, ['c1']);
  await f.end();
});

test('D-3: a device that is stopped acknowledges what it has begun', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers(), options: { pace: { ackAfterMs: 60_000 } } });
  await f.gateway.sendCommand('c1');
  await g.running('c1');
  const peer = f.gateway.last;
  await f.device.stop({ deadlineMs: 50 });
  await peer.first('ack', 'c1');
  await f.end();
});

test('D-3: a command that cannot be remembered is neither acknowledged nor run', async () => {
  const f = await fixture({ connect: false });
  await f.gateway.session();
  const { append } = f.store;
  f.store.append = () => Promise.reject(new Error('disk full'));
  await f.gateway.sendCommand('c1');
  await until(() => f.faults.length > 0, 'a fault');
  f.store.append = append;
  assert.equal(f.ran, []);
  assert.is(f.gateway.last.of('ack').length, 0);
  await f.gateway.sendCommand('c1');
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'succeeded');
  await f.end();
});

test('R-1: failed, rejected, unsupported and unsendable results say why', async () => {
  const f = await fixture({
    handlers: (device) =>
      device
        .handle('sync', () => {
          throw new Failed('exit status 3', { exitStatus: 3 });
        })
        .handle('statistics', () => {
          throw new Rejected('not today');
        })
        .handle('message', () => 'x'.repeat(40_000))
        .handle('deep', () => {
          let value: unknown = 1;
          for (let i = 0; i < 30; i++) value = [value];
          return value;
        }),
  });
  for (const [id, type] of [
    ['c1', 'sync'],
    ['c2', 'statistics'],
    ['c3', 'message'],
    ['c4', 'no-such'],
    ['c5', 'deep'],
  ] as const) {
    await f.gateway.sendCommand(id, { type });
  }
  const results = await Promise.all(
    ['c1', 'c2', 'c3', 'c4', 'c5'].map((id) => f.gateway.last.first('result', id)),
  );
  assert.equal(results[0], {
    t: 'result',
    id: 'c1',
    state: 'failed',
    reason: 'exit status 3',
    data: { exitStatus: 3 },
  });
  assert.equal(results[1], { t: 'result', id: 'c2', state: 'rejected', reason: 'not today' });
  assert.is(results[2]?.state, 'succeeded');
  assert.match(
    results[2]?.reason ?? '',
    /could not travel: with it the result has more, and may have 33792 bytes/,
  );
  assert.equal(results[3], { t: 'result', id: 'c4', state: 'rejected', reason: 'unsupported' });
  assert.is(results[4]?.state, 'succeeded');
  assert.match(results[4]?.reason ?? '', /could not travel: .* is nested more than 16 deep/);
  assert.match(f.faults[0]?.message ?? '', /message c3: its handler's result could not travel/);
  await f.end();
});

test('R-4: a handler whose result cannot be encoded ends in its true state, with a reason', async () => {
  const shared: Record<string, unknown> = {};
  shared.self = shared;
  const given: [type: string, give: () => unknown, state: string, reason: RegExp][] = [
    ['nan', () => ({ disks: [{ used: 1 }, { used: Number.NaN }] }), 'succeeded', /disks\[1\]\.used is NaN/],
    ['map', () => ({ by: new Map([['a', 1]]) }), 'succeeded', /by is an instance of Map/],
    ['binary', () => Buffer.from('abc'), 'succeeded', /it is binary/],
    ['big', () => ({ n: 1n }), 'succeeded', /n is a bigint/],
    ['cycle', () => shared, 'succeeded', /self contains itself/],
    ['bytes', () => ({ output: 'x'.repeat(34_000) }), 'succeeded', /may have 33792 bytes/],
    [
      'exact',
      () => 'é'.repeat(20_000),
      'succeeded',
      /with it the result has 40025 bytes, and may have 33792/,
    ],
    ['undefined', () => [undefined], 'succeeded', /\[0\] is undefined/],
    [
      'failed',
      () => {
        throw new Failed('exit status 3', { exitStatus: 3, at: new Set() });
      },
      'failed',
      /^exit status 3; the data could not travel: at is an instance of Set/,
    ],
    [
      'throws',
      () => {
        throw {
          toString() {
            throw new Error('no');
          },
        };
      },
      'failed',
      /an error without a message/,
    ],
    [
      'getter',
      () => ({
        get temperature() {
          throw new Error('sensor gone');
        },
      }),
      'succeeded',
      /could not travel: sensor gone/,
    ],
  ];
  const f = await fixture({
    handlers: (device) => {
      for (const [type, give] of given) device.handle(type, give);
      device.handle('plain', () => ({ when: new Date(0), left: undefined, none: null, text: 'a\0b' }));
    },
  });
  for (const [type, , state, reason] of given) {
    await f.gateway.sendCommand(`c-${type}`, { type });
    const result = await f.gateway.last.first('result', `c-${type}`);
    assert.equal([result.state, result.data], [state, undefined], type);
    assert.match(result.reason ?? '', reason);
  }
  assert.is(f.faults.length, given.length - 1, 'each but the error without words is told to the program');
  await f.gateway.sendCommand('c-plain', { type: 'plain' });
  assert.equal(await f.gateway.last.first('result', 'c-plain'), {
    t: 'result',
    id: 'c-plain',
    state: 'succeeded',
    data: { when: '1970-01-01T00:00:00.000Z', none: null, text: 'ab' },
  });
  await f.end();
});

test('D-5, B-1: progress and status that cannot travel are refused where they are given', async () => {
  const refusals: string[] = [];
  const attempt = (run: () => void) => {
    try {
      run();
      refusals.push('taken');
    } catch (error) {
      refusals.push((error as Error).message);
    }
  };
  const f = await fixture({
    handlers: (device) =>
      device.handle('sync', (_, { progress }) => {
        attempt(() => progress(Number.NaN));
        attempt(() => progress(101));
        attempt(() => progress('40' as unknown as number));
        attempt(() => progress(1, { step: 2 } as unknown as string));
        attempt(() => progress(33.4, 'n'.repeat(300)));
      }),
  });
  attempt(() => f.device.setStatus({ policy: 'p'.repeat(65) }));
  attempt(() => f.device.setStatus({ compliance: 'fine' as 'warn' }));
  attempt(() => f.device.setStatus({ policy: 'p1' }));
  attempt(() => f.device.handle('no type', () => {}));
  await f.gateway.last.first('beat');
  await f.gateway.sendCommand('c1');
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'succeeded');
  const [refused, taken] = [refusals.filter((why) => why !== 'taken'), refusals.length];
  assert.is(taken, 9);
  assert.equal(
    refused.map((why) => /percent|note|policy|compliance|type of a command/.exec(why)?.[0]),
    ['policy', 'compliance', 'type of a command', 'percent', 'percent', 'percent', 'note'],
  );
  assert.equal(f.faults, []);
  await f.end();
});

test('R-3: a result is remembered before it is sent', async () => {
  const f = await fixture();
  const { append } = f.store;
  let release: (() => void) | undefined;
  f.store.append = async (entries) => {
    const ends = entries.some((entry) => 'put' in entry && entry.put.state === 'finished');
    if (ends) {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    }
    return append.call(f.store, entries);
  };
  await f.gateway.sendCommand('c1');
  await until(() => release, 'the result to be written');
  await f.gateway.sendCommand('no-such', { type: 'x', target: { device: 'dev-2' } });
  await until(() => f.refused.length > 0, 'a later order');
  assert.is(f.gateway.last.of('result').length, 0);
  // in another session no sooner.
  f.gateway.last.socket.terminate();
  const peer = await f.gateway.session(2);
  f.device.setStatus({ policy: 'p1' });
  await peer.first('beat');
  release?.();
  await peer.first('result', 'c1');
  assert.equal(
    f.gateway.peers.flatMap(({ received }) => received.map(({ t }) => t)),
    ['prove', 'prove', 'beat', 'result'],
  );
  f.store.append = append;
  await f.end();
});

test('D-4: a second delivery is acknowledged but not run; once settled, it gets the result', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers() });
  await f.gateway.sendCommand('c1');
  await f.gateway.last.first('ack', 'c1');
  await f.gateway.sendCommand('c1');
  await until(() => f.gateway.last.of('ack', 'c1').length === 2, 'a second ack');
  g.ends.get('c1')?.();
  await f.gateway.last.first('result', 'c1');
  await f.gateway.sendCommand('c1');
  await until(() => f.gateway.last.of('result', 'c1').length === 2, 'the result again');
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 0, 'settled');
  // The ledger was restored from a backup: the end without its data.
  await f.gateway.sendCommand('c1');
  await until(() => f.gateway.last.of('result', 'c1').length === 3, 'its end');
  const end = { t: 'result', id: 'c1', state: 'succeeded' };
  assert.equal(f.gateway.last.of('result', 'c1').at(-1), end);
  await f.restart();
  await f.gateway.sendCommand('c2');
  await f.gateway.last.first('ack', 'c2');
  assert.equal(f.gateway.last.of('result', 'c1'), [], 'nothing is owed');
  await f.gateway.sendCommand('c1');
  assert.equal(await f.gateway.last.first('result', 'c1'), end);
  await f.gateway.sendCancel('c1');
  await until(() => f.gateway.last.of('result', 'c1').length === 2, 'D-8: and to its cancel');
  assert.equal(f.gateway.last.of('ack', 'c1'), []);
  assert.is(f.device.counts().unsettled, 1, 'c2 alone');
  assert.equal(g.begun, ['c1', 'c2']);
  await f.end();
});

test('R-5, R-6: a device repeats its newest report after every welcome until it is settled', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers(), options: { limits: { concurrency: 2 } } });
  for (const id of ['c1', 'c2', 'c3', 'c4']) await f.gateway.sendCommand(id);
  await g.running('c2');
  g.ends.get('c1')?.();
  await f.gateway.last.first('result', 'c1');
  await g.running('c3');
  g.contexts.get('c2')?.progress(40, 'half');
  await f.gateway.last.first('progress', 'c2');
  f.gateway.last.socket.terminate();
  const peer = await f.gateway.session(2);
  await until(() => peer.received.length >= 5, 'four words');
  assert.equal(peer.of('result', 'c1').length, 1);
  assert.equal(peer.of('progress', 'c2'), [{ t: 'progress', id: 'c2', percent: 40, note: 'half' }]);
  assert.equal(peer.of('progress', 'c3').length, 1);
  assert.equal(peer.of('ack', 'c4').length, 1);
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 3, 'settled');
  peer.socket.terminate();
  const third = await f.gateway.session(3);
  await third.first('ack', 'c4');
  assert.is(third.of('result').length, 0);
  await f.end();
});

test('R-7: a device repeats a result handed back after the given time, until it is settled', async () => {
  const f = await fixture({ options: { random: () => 0 } });
  await f.gateway.sendCommand('c1');
  await f.gateway.last.first('result', 'c1');
  const handedBackAt = performance.now();
  f.gateway.last.send({ t: 'keep', id: 'c1', retryMs: 1_000 });
  // Unknown, and not a result of this device: nothing to be said.
  f.gateway.last.send({ t: 'keep', id: 'c2', retryMs: 1_000 });
  await until(() => f.gateway.last.of('result', 'c1').length === 2, 'said again');
  assert.ok(performance.now() - handedBackAt >= 990);
  assert.is(f.device.counts().unsettled, 1);
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 0, 'settled');
  assert.is(f.gateway.last.of('result').length, 2);
  assert.equal(f.faults, []);
  await f.end();
});

test('R-7: a device repeats each of two results handed back in a row after its own time', async () => {
  const f = await fixture({ options: { random: () => 0 } });
  for (const id of ['c1', 'c2']) {
    await f.gateway.sendCommand(id);
    await f.gateway.last.first('result', id);
    f.gateway.last.send({ t: 'keep', id, retryMs: 1_000 });
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  for (const id of ['c1', 'c2'])
    await until(() => f.gateway.last.of('result', id).length === 2, `${id} again`);
  await f.end();
});

test('R-5: repeated reports are paced', async () => {
  const f = await fixture({ options: { pace: { framesPerSecond: 50, burst: 20 } } });
  for (let i = 0; i < 60; i++) await f.gateway.sendCommand(`c${i}`);
  await until(() => f.gateway.last.of('result').length === 60, 'all results', 20_000);
  f.gateway.last.socket.terminate();
  const peer = await f.gateway.session(2);
  await until(() => peer.of('result').length === 60, 'all again', 20_000);
  const spanMs = (peer.times.at(-1) as number) - (peer.times[1] as number);
  assert.ok(spanMs > 600, `60 results took ${Math.round(spanMs)} ms`);
  await f.end();
});

test('R-5: an unsettled result is said again after a while, with doubling pauses', async () => {
  const f = await fixture({ options: { pace: { resendAfterMs: 80 } } });
  await f.gateway.sendCommand('c1');
  await until(() => f.gateway.last.of('result', 'c1').length >= 4, 'three repetitions');
  // 80, 160 and 320 ms; without doubling it would be 240 in all.
  const [first, , , fourth] = f.gateway.last.times.slice(1) as [number, number, number, number];
  assert.ok(fourth - first > 400, `${fourth - first} ms`);
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 0, 'settled');
  await f.end();
});

test('R-6: settled answers a result only: what still runs goes on, and its result is said', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers() });
  await f.gateway.sendCommand('c1');
  await g.running('c1');
  f.gateway.settle('c1');
  f.gateway.settle('c9');
  await f.gateway.sendCommand('c2');
  await g.running('c2');
  assert.not(g.contexts.get('c1')?.signal.aborted);
  g.ends.get('c1')?.();
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'succeeded');
  await f.end();
});

test('B-2, R-6: an answer to a heartbeat settles results, as the device reported them', async () => {
  const g = gated();
  const settled: string[] = [];
  const f = await fixture({
    handlers: (device) => {
      g.handlers()(device);
      device.handle('fails', () => {
        throw new Error('no');
      });
      device.handle('works', () => {});
      device.on('execution-settled', ({ id, state }) => settled.push(`${id} ${state}`));
    },
  });
  for (const [id, type] of [
    ['c1', 'works'],
    ['c2', 'fails'],
    ['c3', 'sync'],
  ] as const) {
    await f.gateway.sendCommand(id, { type });
  }
  await g.running('c3');
  await f.gateway.last.first('result', 'c2');
  f.gateway.last.send({ t: 'beat', time: Date.now(), settled: ['c1', 'c2', 'c3', 'c9'] });
  await until(() => f.device.counts().unsettled === 1, 'settled');
  assert.equal(settled, ['c1 succeeded', 'c2 failed']);
  g.ends.get('c3')?.();
  await f.gateway.last.first('result', 'c3');
  assert.is(f.device.counts().unsettled, 1, 'what ran is not settled');
  await f.end();
});

/** A device that restarted while repeatable command c1 ran and c2 waited for it. */
async function restartedWithOneWaiting() {
  const g = gated();
  const f = await fixture({
    handlers: g.handlers({ safeToRepeat: true }),
    options: { limits: { concurrency: 1 } },
  });
  await f.gateway.sendCommand('c1');
  await f.gateway.sendCommand('c2', { issuedAt: Date.now() + 5 });
  await g.running('c1');
  await f.gateway.last.first('ack', 'c2');
  await f.restart();
  return { g, f };
}

test('D-8: a cancel stops a command that waits to run again after a crash', async () => {
  const { f } = await restartedWithOneWaiting();
  await f.gateway.sendCancel('c2');
  assert.is((await f.gateway.last.first('result', 'c2')).state, 'canceled');
  await f.end();
});

test('D-8, D-6: the handler ends a waiting command that continues from an earlier program', async () => {
  const g = gated();
  let programs = 0;
  const f = await fixture({
    handlers: (device) => g.handlers({ goesOn: () => true, unlimited: programs++ === 0 })(device),
    options: { limits: { concurrency: 1 } },
  });
  for (const id of ['c1', 'c2', 'c3']) {
    await f.gateway.sendCommand(id, { timeoutMs: id === 'c3' ? 10_000 : 600_000 });
    await g.running(id);
  }
  g.begun.length = 0;
  const now = Date.now();
  f.gateway.time = () => now + 60_000;
  await f.restart();
  assert.is((await f.gateway.last.first('result', 'c3')).state, 'timed-out');
  await g.running('c1');
  await f.gateway.sendCancel('c2');
  await g.running('c2');
  assert.equal(g.begun, ['c3', 'c1', 'c2']);
  const why = (id: string) => (g.contexts.get(id)?.signal.reason as Aborted | undefined)?.why;
  assert.equal(['c1', 'c2', 'c3'].map(why), [undefined, 'canceled', 'timed-out']);
  assert.equal(f.gateway.last.of('result', 'c2'), [], 'its handler says when it has ended');
  g.ends.get('c2')?.(new Failed('ended', 'its data'));
  const { state, data } = await f.gateway.last.first('result', 'c2');
  assert.equal([state, data], ['canceled', 'its data']);
  await f.end();
});

test('D-7: a command interrupted by a crash is reported failed, and does not run again', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers() });
  await f.gateway.sendCommand('c1');
  await g.running('c1');
  await f.restart();
  const result = await f.gateway.last.first('result', 'c1');
  assert.equal(result, { t: 'result', id: 'c1', state: 'failed', reason: 'interrupted' });
  assert.equal(g.begun, ['c1']);
  await f.end();
});

test('D-7: after a crash, repeatable handlers and commands not yet begun run again', async () => {
  const { g, f } = await restartedWithOneWaiting();
  await until(() => g.begun.length === 2, 'c1 to run again');
  g.ends.get('c1')?.();
  await g.running('c2');
  g.ends.get('c2')?.();
  await f.gateway.last.first('result', 'c2');
  assert.equal(g.begun, ['c1', 'c1', 'c2']);
  await f.end();
});

test('D-8: a command that waits is canceled without running', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers(), options: { limits: { concurrency: 1 } } });
  await f.gateway.sendCommand('c1');
  await f.gateway.sendCommand('c2');
  await f.gateway.last.first('ack', 'c2');
  await f.gateway.sendCancel('c2');
  assert.is((await f.gateway.last.first('result', 'c2')).state, 'canceled');
  g.ends.get('c1')?.();
  await f.gateway.last.first('result', 'c1');
  assert.equal(g.begun, ['c1']);
  await f.end();
});

test('D-8: a canceled command is stopped; if it ends anyway, its result is reported', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers() });
  for (const id of ['c1', 'c2']) {
    await f.gateway.sendCommand(id);
    await g.running(id);
    await f.gateway.sendCancel(id);
    await until(() => g.contexts.get(id)?.signal.aborted, 'the abort');
  }
  g.ends.get('c1')?.(new Error('aborted'));
  g.ends.get('c2')?.();
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'canceled');
  assert.is((await f.gateway.last.first('result', 'c2')).state, 'succeeded');
  await f.end();
});

test('D-8: a cancel that comes before its command keeps it from running, also after a restart', async () => {
  const f = await fixture();
  await f.gateway.sendCancel('c1');
  await f.gateway.sendCommand('c2');
  await f.gateway.last.first('result', 'c2');
  await f.restart();
  await f.gateway.sendCommand('c1');
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'canceled');
  assert.equal(f.ran, ['c2']);
  await f.end();
});

test('D-8: a command that arrives after its cancel is remembered for its own time only', async () => {
  const f = await fixture();
  const now = Date.now();
  const long = { issuedAt: now, expiresAt: now + 9_000_000 };
  await f.gateway.sendCancel('c1', now + 1_000);
  await f.gateway.sendCommand('c1', long);
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'canceled');
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 0, 'settled');
  f.gateway.time = () => now + 5_000;
  await f.restart();
  await f.gateway.sendCommand('c2');
  await f.gateway.last.first('result', 'c2');
  await f.restart();
  await f.gateway.sendCommand('c1', long);
  await f.gateway.sendCommand('c3');
  await f.gateway.last.first('result', 'c3');
  assert.equal(f.ran, ['c2', 'c3']);
  await f.end();
});

test('D-8: a cancel for what has its end brings the result again, and once settled its end', async () => {
  const f = await fixture();
  await f.gateway.sendCommand('c1');
  await f.gateway.last.first('result', 'c1');
  await f.gateway.sendCancel('c1');
  await until(() => f.gateway.last.of('result', 'c1').length === 2, 'the result again');
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 0, 'settled');
  await f.gateway.sendCancel('c1');
  await until(() => f.gateway.last.of('result', 'c1').length === 3, 'its end');
  assert.is(f.gateway.last.of('result', 'c1')[2]?.state, 'succeeded');
  await f.end();
});

test('D-6, D-7: after a restart, expired commands time out; begun ones are interrupted', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers(), options: { limits: { concurrency: 1 } } });
  await f.gateway.sendCommand('c1', { timeoutMs: 10_000 });
  await g.running('c1');
  await f.gateway.sendCommand('c2', { timeoutMs: 10_000 });
  await f.gateway.last.first('ack', 'c2');
  const now = Date.now();
  f.gateway.time = () => now + 60_000;
  await f.restart();
  assert.is((await f.gateway.last.first('result', 'c1')).reason, 'interrupted');
  assert.is((await f.gateway.last.first('result', 'c2')).state, 'timed-out');
  assert.equal(g.begun, ['c1']);
  await f.end();
});

test('D-6: a command that exceeds its time is aborted and timed out, and frees its slot', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers(), options: { limits: { concurrency: 1 } } });
  await f.gateway.sendCommand('c1', { timeoutMs: 150 });
  await f.gateway.sendCommand('c2', { timeoutMs: 50 });
  await f.gateway.sendCommand('c3');
  assert.is((await f.gateway.last.first('result', 'c2')).state, 'timed-out', 'while it waited');
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'timed-out');
  assert.ok(g.contexts.get('c1')?.signal.aborted);
  await g.running('c3');
  g.ends.get('c1')?.();
  g.ends.get('c3')?.();
  await f.gateway.last.first('result', 'c3');
  assert.equal(g.begun, ['c1', 'c3']);
  assert.is(f.gateway.last.of('result', 'c1').length, 1);
  await f.end();
});

test('D-9: beyond the bound a command is rejected as busy, and taken when there is room again', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers(), options: { limits: { maxOpen: 2 } } });
  for (const id of ['c1', 'c2', 'c3']) await f.gateway.sendCommand(id);
  const busy = await f.gateway.last.first('result', 'c3');
  assert.equal(busy, { t: 'result', id: 'c3', state: 'rejected', reason: 'busy' });
  f.gateway.settle('c3');
  await g.running('c1');
  g.ends.get('c1')?.();
  await f.gateway.last.first('result', 'c1');
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 1, 'room');
  await f.gateway.sendCommand('c4');
  await g.running('c4');
  await f.end();
});

test('R-3: a busy rejection is remembered, and answers later deliveries, even after a restart', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers(), options: { limits: { maxOpen: 1 } } });
  for (const id of ['c1', 'c2']) await f.gateway.sendCommand(id);
  await f.gateway.last.first('result', 'c2');
  await g.running('c1');
  g.ends.get('c1')?.();
  await f.gateway.last.first('result', 'c1');
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 1, 'room');
  await f.gateway.sendCommand('c2');
  await until(() => f.gateway.last.of('result', 'c2').length === 2, 'the same answer');
  await f.restart();
  await f.gateway.sendCommand('c2');
  const again = await f.gateway.last.first('result', 'c2');
  assert.is(again.reason, 'busy');
  await f.gateway.sendCommand('c3');
  await g.running('c3');
  assert.equal(g.begun, ['c1', 'c3']);
  await f.end();
});

test('D-9: a device without room for one more id says busy without remembering it', async () => {
  const f = await fixture({ options: { limits: { maxRemembered: 1 } } });
  for (const id of ['c1', 'c2']) await f.gateway.sendCommand(id);
  assert.is((await f.gateway.last.first('result', 'c2')).reason, 'busy');
  assert.is(f.device.counts().remembered, 1);
  assert.equal(f.ran, ['c1']);
  await f.end();
});

test('D-9: handlers run four at a time in order of arrival, with unlimited ones beside them', async () => {
  const g = gated();
  const f = await fixture({
    handlers: (device) => {
      g.handlers()(device);
      device.handle('task.stop', () => ({ wasRunning: false }), { unlimited: true });
    },
  });
  for (let i = 1; i <= 6; i++) await f.gateway.sendCommand(`c${i}`);
  await f.gateway.last.first('ack', 'c6');
  await f.gateway.sendCommand('stop', { type: 'task.stop' });
  await f.gateway.last.first('result', 'stop');
  assert.equal(g.begun, ['c1', 'c2', 'c3', 'c4']);
  g.ends.get('c3')?.();
  await g.running('c5');
  g.ends.get('c1')?.();
  await g.running('c6');
  assert.equal(g.begun, ['c1', 'c2', 'c3', 'c4', 'c5', 'c6']);
  await f.end();
});

test('D-10: an id is forgotten once signed time passes its expiry, and does not run again', async () => {
  const f = await fixture();
  const now = Date.now();
  const old = { issuedAt: now, expiresAt: now + 1_000 };
  await f.gateway.sendCommand('c1', old);
  await f.gateway.last.first('result', 'c1');
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 0, 'settled');
  f.gateway.time = () => now + 2_000;
  await f.restart();
  await f.gateway.sendCommand('c2', { issuedAt: now + 1_001, expiresAt: now + 9_000_000 });
  await f.gateway.last.first('result', 'c2');
  await f.restart();
  await until(() => f.device.counts().remembered === 1, 'forgotten');
  f.gateway.time = () => now - 1_000_000;
  await f.restart();
  await f.gateway.sendCommand('c1', old);
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'expired');
  assert.equal(f.ran, ['c1', 'c2']);
  await f.end();
});

test('D-10: false times of a gateway make a device neither forget nor refuse commands', async () => {
  const f = await fixture();
  const now = Date.now();
  const long = { issuedAt: now, expiresAt: now + 30 * 86_400_000 };
  await f.gateway.sendCommand('c1', long);
  await f.gateway.last.first('result', 'c1');
  f.gateway.settle('c1');
  await until(() => f.device.counts().unsettled === 0, 'settled');
  f.gateway.time = () => now + 60 * 86_400_000;
  await f.restart();
  f.gateway.time = () => now;
  await f.restart();
  await f.gateway.sendCommand('c1', long);
  await f.gateway.sendCommand('c2');
  assert.is((await f.gateway.last.first('result', 'c2')).state, 'succeeded');
  assert.equal(f.ran, ['c1', 'c2']);
  assert.is(f.device.counts().remembered, 2);
  await f.end();
});

test('G-4: commands run on while the device is offline, and their ends are said later', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers() });
  await f.gateway.sendCommand('c1');
  await g.running('c1');
  f.gateway.refuse = 0;
  f.gateway.last.socket.terminate();
  await until(() => f.disconnected.length > 1, 'the connection to be gone');
  g.ends.get('c1')?.();
  await until(() => f.device.counts().running === 0, 'the end');
  f.gateway.refuse = null;
  const peer = await f.gateway.session(2);
  assert.is((await peer.first('result', 'c1')).state, 'succeeded');
  await f.end();
});

test('a stopped device leaves commands interrupted, and waits until the deadline at most', async () => {
  const g = gated();
  const f = await fixture({ handlers: g.handlers() });
  await f.gateway.sendCommand('c1');
  await g.running('c1');
  const before = performance.now();
  await f.device.stop({ deadlineMs: 100 });
  await f.device.stop();
  assert.ok(performance.now() - before < 2_000);
  await f.device.start();
  await f.gateway.session(2);
  assert.is((await f.gateway.last.first('result', 'c1')).reason, 'interrupted');
  await f.end();
});

test('a device that was never enrolled does not start', async () => {
  const { PushpointDevice: Device } = await import('../../device/index.ts');
  const device = new Device({ store: new MemoryStore() });
  try {
    await device.start();
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /not enrolled/);
  }
});

test.run();
