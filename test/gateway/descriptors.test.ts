/** How many unauthenticated sockets a worker keeps, by how many descriptors it has left. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { unauthenticatedBound } from '../../gateway/listen/descriptors.ts';

const LIMIT = 20_000;
/** From this share on a worker is full, and from that on it does not listen. */
const FULL = 0.9;
const EXHAUSTED = 0.95;
const MOST = 4_000;

const withDevices = (devices: number, sockets = 0) =>
  unauthenticatedBound({ limit: LIMIT, used: devices + sockets }, sockets, MOST);

test('a worker with few devices keeps as many unauthenticated sockets as its setting says', () => {
  assert.is(withDevices(100), MOST);
  assert.is(withDevices(100, 3_000), MOST);
});

test('devices and unauthenticated sockets together stay below the share of a full worker', () => {
  for (let devices = 0; devices < LIMIT * 0.77; devices += 500) {
    assert.ok(devices + withDevices(devices) <= LIMIT * 0.8, `${devices} devices`);
  }
});

test('a worker admits hundreds at a time until it is full', () => {
  for (let devices = 0; devices <= LIMIT * FULL; devices += 100) {
    const bound = withDevices(devices);
    assert.ok(bound >= 600, `${devices} devices: ${bound} sockets`);
    // Half as many may linger after their close frames.
    assert.ok(devices + 1.5 * bound < LIMIT * EXHAUSTED || bound > 600, `${devices} devices: ${bound}`);
  }
});

test('unauthenticated sockets do not count twice', () => {
  for (const sockets of [0, 1, 600, 2_000]) assert.is(withDevices(14_000, sockets), withDevices(14_000));
});

test('with few descriptors there are a few sockets still, never more than the setting', () => {
  assert.is(unauthenticatedBound({ limit: 100, used: 95 }, 0, MOST), 8);
  assert.is(unauthenticatedBound({ limit: 100, used: 95 }, 0, 3), 3);
});

test('where descriptors cannot be counted, half of the limit is the bound', () => {
  assert.is(unauthenticatedBound({ limit: 1_024, used: 0 }, 0, MOST), 512);
});

test.run();
