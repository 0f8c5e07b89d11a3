import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { percentile } from '../../bench/measure/percentiles.ts';
import { Rows } from '../../bench/rows.ts';
import { Bench } from '../../bench/scenario.ts';

const folder = mkdtempSync(join(tmpdir(), 'bench-rows-'));
test.after(() => rmSync(folder, { recursive: true }));

function bench(quick: boolean): { bench: Bench; rows: Rows; file: string } {
  const file = join(folder, `${quick}.json`);
  const rows = new Rows(file, () => {});
  const options = {
    scenario: 'idle',
    devices: 10,
    quick,
    databaseUrl: undefined,
    keepDir: undefined,
    profileDir: undefined,
    memoryLimit: 2 ** 40,
  };
  return { bench: new Bench(options, rows), rows, file };
}

test('a figure is held against its bound, and the file has every row at once', () => {
  const { bench: measured, file } = bench(false);
  measured.figure('memory', 'bytes', 1_999.6, { atMost: 2_000 });
  measured.figure('rate', 'per second', 2_999, { atLeast: 3_000 });
  measured.figure('time', 's', 1.23456);
  measured.figure('unknown', 's', Number.NaN, { atMost: 1 });
  measured.invariant('lost', 0);
  assert.equal(JSON.parse(readFileSync(file, 'utf8')), {
    rows: [
      { scenario: 'idle', what: 'memory', unit: 'bytes', bound: 2_000, figure: 2_000, held: true },
      { scenario: 'idle', what: 'rate', unit: 'per second', bound: 3_000, figure: 2_999, held: false },
      { scenario: 'idle', what: 'time', unit: 's', bound: null, figure: 1.23, held: null },
      { scenario: 'idle', what: 'unknown', unit: 's', bound: 1, figure: null, held: false },
      { scenario: 'idle', what: 'lost', unit: 'violations', bound: 0, figure: 0, held: true },
    ],
  });
});

test('a quick run tells figures and judges invariants only', () => {
  const { bench: quick, rows } = bench(true);
  quick.figure('memory', 'bytes', 9_999, { atMost: 2_000 });
  quick.invariant('lost', 1);
  assert.equal(
    rows.all.map(({ bound, held }) => ({ bound, held })),
    [
      { bound: null, held: null },
      { bound: 0, held: false },
    ],
  );
});

test('a percentile is the value that so many do not exceed', () => {
  const values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  assert.equal(
    [0, 0.5, 0.9, 0.91, 1].map((share) => percentile(values, share)),
    [1, 5, 9, 10, 10],
  );
  assert.ok(Number.isNaN(percentile([], 0.5)));
});

test.run();
