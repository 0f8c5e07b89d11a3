import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DeviceSecrets } from '../../admin-api/device-secrets.ts';
import { opensslMac } from '../../admin-api/message-code.ts';
import { ResultKeys } from '../../admin-api/result-keys.ts';
import { makeResult } from '../results.ts';

function keyNumber(number: number): Uint8Array {
  return new Uint8Array(32).fill(number % 256).fill(number >> 8, 0, 4);
}

test('a key is found for its device and generation only', () => {
  const keys = new ResultKeys(64);
  keys.keep('d1', 1, keyNumber(1));
  keys.keep('d1', 2, keyNumber(2));
  keys.keep('1d', 1, keyNumber(3));
  assert.equal(keys.find('d1', 1), keyNumber(1));
  assert.equal(keys.find('d1', 2), keyNumber(2));
  assert.equal(keys.find('1d', 1), keyNumber(3));
  for (const other of ['', 'd', 'd11', 'D1', '1']) assert.is(keys.find(other, 1), null, other);
  assert.is(keys.find('d1', 3), null);
  assert.is(keys.find('d1', 0), null);
});

test('a full table forgets keys and never gives a device the key of another', () => {
  const keys = new ResultKeys(32);
  let found = 0;
  for (let round = 0; round < 3; round++) {
    for (let number = 0; number < 1_000; number++) keys.keep(`device-${number}`, 1, keyNumber(number));
    for (let number = 0; number < 1_000; number++) {
      const key = keys.find(`device-${number}`, 1);
      if (key === null) continue;
      assert.equal(key, keyNumber(number));
      found++;
    }
  }
  assert.ok(found > 0 && found <= 96, `${found} found`);
});

test('ids that do not fit in the table are not kept', () => {
  const keys = new ResultKeys(4);
  for (const id of ['x'.repeat(32), 'x'.repeat(64), 'dā', 'd\u0101']) {
    keys.keep(id, 1, keyNumber(1));
    assert.is(keys.find(id, 1), null, id);
  }
  assert.is(keys.find('d\u0001', 1), null);
  keys.keep('x'.repeat(31), 1, keyNumber(7));
  assert.equal(keys.find('x'.repeat(31), 1), keyNumber(7));
});

test('R-8: a kept key judges as the derived one does', () => {
  let macs = 0;
  const secrets = new DeviceSecrets(randomBytes(32), (key, bytes) => {
    macs++;
    return opensslMac(key, bytes);
  });
  for (const device of ['d1', 'd2', `d${'1'.repeat(40)}`]) {
    const made = {
      device,
      command: 'c1',
      ...makeResult({ id: device, secret: secrets.of(device, 2) }, 'c1'),
    };
    for (let times = 0; times < 3; times++) {
      assert.ok(secrets.made(made, 2));
      assert.not(secrets.made(made, 1));
      assert.not(secrets.made({ ...made, command: 'c2' }, 2));
      assert.not(secrets.made({ ...made, device: `${device}x` }, 2));
    }
  }
  macs = 0;
  const { secret, id } = { id: 'd3', secret: secrets.of('d3', 1) };
  const made = { device: id, command: 'c1', ...makeResult({ id, secret }, 'c1') };
  macs = 0;
  for (let times = 0; times < 10; times++) assert.ok(secrets.made(made, 1));
  assert.is(macs, 2 + 10, 'the key is derived once');
});

test.run();
