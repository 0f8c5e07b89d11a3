/** The clock that all programs share, as one of them knows it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MeasuredClock } from '../../bus/clock.ts';

const HOUR = 3_600_000;
/** What they would say now if their clock were `ahead` of the monotonic one. */
const theirs = (ahead: number) => performance.now() + ahead;
const near = (actual: number, expected: number, within: number) =>
  assert.ok(Math.abs(actual - expected) <= within, `${actual} is not near ${expected}`);

test("before it is measured the process' own clock counts, and nothing is known of the difference", () => {
  const clock = new MeasuredClock();
  assert.is(clock.aheadMs(), null);
  near(clock.now(), Date.now(), 50);
});

test('a process whose own clock is changed still has the time of the others', () => {
  const clock = new MeasuredClock();
  const at = performance.now();
  clock.measured(Date.now(), at, at);
  const { now } = Date;
  try {
    Date.now = () => now() - 2 * HOUR;
    near(clock.now(), now(), 50);
    near(clock.aheadMs() ?? 0, -2 * HOUR, 50);
  } finally {
    Date.now = now;
  }
});

test('a slow answer does not take the place of a quick one, unless it contradicts it', () => {
  const clock = new MeasuredClock();
  const at = performance.now();
  clock.measured(theirs(1_000_000), at, at + 2);
  const before = clock.now() - performance.now();
  clock.measured(theirs(1_000_150), at - 400, at + 400);
  near(clock.now() - performance.now(), before, 5);
  clock.measured(theirs(1_000_000 + HOUR), at - 400, at + 400);
  near(clock.now() - performance.now(), before + HOUR, 500);
  clock.measured(theirs(1_000_000 - HOUR), at, at + 2);
  near(clock.now() - performance.now(), before - HOUR, 500);
});

test('a small correction never turns it back', () => {
  const clock = new MeasuredClock();
  const at = performance.now();
  clock.measured(theirs(1_000_400), at - 300, at + 300);
  const before = clock.now();
  clock.measured(theirs(1_000_000), at - 1, at + 1);
  assert.ok(clock.now() >= before);
});

test.run();
