/** Work that is asked for while it is done. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OneAtATime } from '../../bus/one-at-a-time.ts';

/** Work whose runs end when the test lets them. */
function held() {
  const runs: (() => void)[] = [];
  const failures: unknown[] = [];
  const work = new OneAtATime(
    () =>
      new Promise((resolve) => {
        runs.push(resolve);
      }),
    (error) => failures.push(error),
  );
  return { work, runs, failures };
}

test('requests during a run cause one more run after it', async () => {
  const { work, runs } = held();
  const first = work.ask();
  const second = work.ask();
  const third = work.ask();
  assert.is(runs.length, 1);
  runs[0]?.();
  await first;
  await new Promise(setImmediate);
  assert.is(runs.length, 2);
  runs[1]?.();
  await Promise.all([second, third]);
  await new Promise(setImmediate);
  assert.is(runs.length, 2);
  assert.is(work.running, false);
  assert.is(work.rounds, 2);
});

test('who asks at the moment a run ends begins none beside the one that is to follow', async () => {
  let under = 0;
  let most = 0;
  const work = new OneAtATime(
    async () => {
      most = Math.max(most, ++under);
      await new Promise(setImmediate);
      under--;
    },
    () => undefined,
  );
  const first = work.ask();
  const third = first.then(() => work.ask());
  await Promise.all([third, work.ask()]);
  assert.is(most, 1);
  assert.is(work.rounds, 2);
});

test('a failed run is reported, and the next one still starts', async () => {
  const failures: unknown[] = [];
  let count = 0;
  const work = new OneAtATime(
    async () => {
      if (++count === 1) throw new Error('first');
    },
    (error) => failures.push(error),
  );
  await Promise.all([work.ask(), work.ask()]);
  assert.is(count, 2);
  assert.is(failures.length, 1);
});

test.run();
