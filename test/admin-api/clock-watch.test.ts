/** Clocks that are apart, as health tells it. */
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ClockWatch } from '../../admin-api/health/clock-watch.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { MeasuredClock } from '../../bus/clock.ts';

const HOUR = 3_600_000;

/**
 * The shared clock is `shared` ahead of this process', the database's `database`; `null` where it has none.
 */
function watch(shared: number, database: number | null) {
  const clock = new MeasuredClock();
  const at = performance.now();
  clock.measured(Date.now() + shared, at, at);
  const lines: { msg: string }[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const meta = { clock: async () => (database === null ? null : Date.now() + database) };
  const store = { meta: meta as unknown as Store['meta'] };
  return { clocks: new ClockWatch({ store, bus: { clock }, log }), lines };
}

test('clocks that agree are not told of', async () => {
  const { clocks, lines } = watch(500, 0);
  await clocks.look();
  assert.is(clocks.report().warnings, undefined);
  assert.equal(lines, []);
});

test('a server and a database two hours apart are reported once, and are still ready', async () => {
  const { clocks, lines } = watch(2 * HOUR, HOUR);
  await clocks.look();
  await clocks.look();
  const { ok, warnings } = clocks.report();
  assert.is(ok, true);
  assert.equal(
    warnings?.map((warning) => warning.replace(/\.\d s/, ' s')),
    [
      'the clock of this administration server is 7200 s behind the one that all programs share: set ' +
        'the clocks by NTP',
      'the clock of the database is 3600 s behind the one that all programs share: set the clocks by NTP',
    ],
  );
  assert.equal(
    lines.map(({ msg }) => msg),
    ['clocks are apart'],
  );
  assert.equal(
    clocks.aheadMs().map(([name, aheadMs]) => [name, Math.round((aheadMs ?? 0) / HOUR)]),
    [
      ['server', -2],
      ['database', -1],
    ],
  );
});

test('a database that has the clock of the process is not asked', async () => {
  const { clocks } = watch(0, null);
  await clocks.look();
  assert.equal(clocks.aheadMs()[1], ['database', null]);
});

test.run();
