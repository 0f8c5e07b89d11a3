import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { KnownBodies } from '../../admin-api/ledger/known-bodies.ts';
import { encodeResultBody } from '../../protocol/index.ts';

test('a body is found by its bytes alone, wherever they are', () => {
  const bodies = new KnownBodies();
  const bytes = encodeResultBody({ state: 'succeeded', data: { revision: 'r1' } });
  const body = { state: 'succeeded' as const, data: { revision: 'r1' } };
  assert.is(bodies.find(bytes), undefined);
  const batch = new Uint8Array([1, ...bytes, 2]);
  bodies.keep(batch.subarray(1, 1 + bytes.length), body);
  batch.fill(0);
  assert.is(bodies.find(new Uint8Array([9, ...bytes]).subarray(1)), body);
  for (let at = 0; at < bytes.length; at++) {
    const other = bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
    assert.is(bodies.find(other), undefined, `byte ${at}`);
  }
  assert.is(bodies.find(bytes.subarray(1)), undefined);
});

test('any number of bodies takes the room of a few, and long ones take none', () => {
  const bodies = new KnownBodies();
  const bytes = (number: number) => encodeResultBody({ state: 'succeeded', data: number });
  for (let number = 0; number < 10_000; number++) {
    bodies.keep(bytes(number), { state: 'succeeded', data: number });
  }
  let found = 0;
  for (let number = 0; number < 10_000; number++) {
    const body = bodies.find(bytes(number));
    if (body === undefined) continue;
    assert.is(body.data, number);
    found++;
  }
  assert.ok(found > 0 && found <= 64, `${found} found`);
  const long = encodeResultBody({ state: 'failed', reason: 'x'.repeat(300) });
  bodies.keep(long, { state: 'failed', reason: 'x'.repeat(300) });
  assert.is(bodies.find(long), undefined);
});

test.run();
