import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fixture } from '../../device/fixture.ts';
import { random } from './seed.ts';

const MOST = 20;

test('a command that is delivered again does not run again', async () => {
  const f = await fixture();
  try {
    const ids = Array.from({ length: 1 + random.below(MOST) }, (_, n) => `c${n}`);
    for (const id of ids) {
      await f.gateway.sendCommand(id);
      await f.gateway.last.first('result', id);
    }
    for (const id of random.some(ids.length, ids)) await f.gateway.sendCommand(id);
    // Orders are taken in turn: once this one has run, those before it were dealt with.
    await f.gateway.sendCommand('last');
    await f.gateway.last.first('result', 'last');
    assert.equal(f.ran, [...ids, 'last']);
  } finally {
    await f.end();
  }
});

test.run();
