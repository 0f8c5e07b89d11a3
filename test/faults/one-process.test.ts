import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { workFor } from '../e2e/fleet.ts';
import { allConnected, withLab } from '../e2e/lab.ts';
import { waitFor } from '../wait.ts';

const { testLab } = withLab({ bus: 'memory' });

testLab(
  'many requests under way at kill -9: each that was answered 202 is there, and a key is never two commands',
  async (lab) => {
    const { operator, site } = lab;
    const [device] = await lab.enrolled(1);
    if (!device) throw new Error('no device');
    const accepted: string[] = [];
    const ask = (key: string) =>
      operator.api.request<{ id: string }>('POST', '/v1/commands', {
        body: { type: 'message', args: { topic: key }, target: { devices: [device.id] } },
        headers: { 'idempotency-key': key },
      });
    for (let round = 0; round < 3; round++) {
      const keys = Array.from({ length: 60 }, (_, n) => `round-${round}-${n}`);
      const answers = keys.map((key) =>
        ask(key).then(
          ({ id }) => ({ key, id }),
          () => ({ key, id: undefined }),
        ),
      );
      await Promise.race(answers);
      await site.kill('admin');
      const before = await Promise.all(answers);
      await site.start('admin');
      for (const { key, id } of before) {
        if (id !== undefined) assert.is((await operator.command(id)).id, id);
        const again = await ask(key);
        if (id !== undefined) assert.is(again.id, id, key);
        accepted.push(again.id);
      }
    }
    assert.is(new Set(accepted).size, 180);
    await lab.connect([device]);
    for (const id of accepted) {
      operator.given.push({ command: await operator.command(id), devices: [device] });
      await operator.finished(id);
    }
  },
);

testLab(
  'what was answered 202 survives kill -9 at that moment, and in the middle of 1,000 executions',
  async (lab) => {
    const { operator, site } = lab;
    const devices = await lab.enrolled(1_000, { work: workFor(200, 3_000), concurrency: 8 });

    console.log('  kill -9 right after the answer, the devices away');
    const early: string[] = [];
    for (let round = 0; round < 3; round++) {
      // To more devices than are laid out before the answer: the rest is made by whoever starts next.
      early.push((await operator.send('message', devices, { all: true })).id);
      await site.kill('admin');
      await site.start('admin');
    }
    for (const id of early) {
      await waitFor(async () => (await operator.command(id)).counts.total === 1_000, {
        what: `all executions of ${id}`,
      });
    }
    await lab.connect(devices);
    for (const id of early) assert.is((await operator.finished(id, 60_000)).counts.succeeded, 1_000);

    console.log('  kill -9 of everything but the devices, in the middle');
    const { id } = await operator.send('task.start', devices, { all: true });
    await waitFor(() => devices.filter((device) => device.completed(id) === 1).length >= 300, {
      timeoutMs: 30_000,
      what: '300 of 1,000 to be done',
    });
    await site.kill('admin');
    await site.start('admin');
    assert.is((await operator.finished(id, 60_000)).counts.succeeded, 1_000);
    await allConnected(devices);
  },
);

test.run();
