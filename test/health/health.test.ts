import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Dependency, Loops, lostSeconds } from '../../health/health.ts';
import { waitFor } from '../wait.ts';

test('a dependency reports since when it has its state, and why it is away', () => {
  const dependency = new Dependency();
  dependency.bad('first');
  const { since } = dependency.report();
  dependency.bad('second');
  assert.equal(dependency.report(), { ok: false, since, reason: 'second' });
  assert.ok(lostSeconds({ ok: false, since: new Date(Date.now() - 5_000).toISOString() }) >= 5);
  dependency.good();
  assert.is(dependency.report().reason, undefined);
  assert.is(lostSeconds(dependency.report()), 0);
});

test('a stalled loop is stuck, an idle one is not, and one that continues is live again', async () => {
  const loops = new Loops(1);
  let rounds = 0;
  let goes = true;
  loops.watch('busy', () => (goes ? ++rounds : rounds));
  loops.watch(
    'idle',
    () => 0,
    () => true,
  );
  loops.start();
  try {
    await waitFor(() => rounds > 2);
    assert.ok(loops.live);
    goes = false;
    await waitFor(() => !loops.live);
    assert.is(loops.stuck, 1);
    const { busy, idle } = loops.report();
    assert.equal([busy?.ok, busy?.reason, idle?.ok], [false, 'has not completed a round for 1 s', true]);
    goes = true;
    await waitFor(() => loops.live);
  } finally {
    loops.stop();
  }
});

test.run();
