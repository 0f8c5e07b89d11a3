import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withLab } from './lab.ts';

const { testLab } = withLab({ bus: 'memory' });

testLab(
  'many requests under way at kill -9: each that was answered 202 is there, and a key is never two commands',
  async (lab) => {
    const { operator, deployment } = lab;
    const [device] = await lab.enrolled(1);
    if (!device) throw new Error('no device');
    const ask = (key: string) =>
      operator.api.request<{ id: string }>('POST', '/v1/commands', {
        body: { type: 'message', args: { topic: key }, target: { devices: [device.id] } },
        headers: { 'idempotency-key': key },
      });
    const answers = Array.from({ length: 60 }, (_, n) => `key-${n}`).map((key) =>
      ask(key).then(
        ({ id }) => ({ key, id }),
        () => ({ key, id: undefined }),
      ),
    );
    await Promise.race(answers);
    await deployment.kill('admin');
    const before = await Promise.all(answers);
    await deployment.start('admin');
    const accepted: string[] = [];
    for (const { key, id } of before) {
      if (id !== undefined) assert.is((await operator.command(id)).id, id);
      const again = await ask(key);
      if (id !== undefined) assert.is(again.id, id, key);
      accepted.push(again.id);
    }
    assert.is(new Set(accepted).size, 60);
    await lab.connect([device]);
    for (const id of accepted) {
      operator.given.push({ command: await operator.command(id), devices: [device] });
      await operator.finished(id);
    }
  },
);

test.run();
