import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fastest, runFluid, type Stage } from '../../bench/simulation/fluid.ts';

const near = (actual: number, expected: number, share = 0.01) =>
  assert.ok(Math.abs(actual - expected) <= expected * share, `${actual} is not near ${expected}`);

test('a stage with one resource is as fast as the resource', () => {
  const run = runFluid(10_000, [{ name: 'only', uses: { cpu: 0.001 } }], { cpu: 2 });
  near(run.timeTo('only', 1), 5);
  near(run.timeTo('only', 0.5), 2.5);
});

test('a loop does one unit after another, also while it waits for others', () => {
  const stage: Stage = { name: 'loop', loops: 1, uses: { program: 0.001, database: 0.003 } };
  near(fastest(stage, { program: 1, database: 32 }), 250);
  near(runFluid(1_000, [stage], { program: 1, database: 32 }).timeTo('loop', 1), 4);
});

test('the slowest stage decides when the last unit is through', () => {
  const stages: Stage[] = [
    { name: 'fast', uses: { a: 0.001 } },
    { name: 'slow', uses: { b: 0.004 } },
    { name: 'last', uses: { c: 0.002 } },
  ];
  const run = runFluid(5_000, stages, { a: 1, b: 1, c: 1 });
  near(run.timeTo('fast', 1), 5);
  near(run.timeTo('last', 1), 20);
});

test('stages that use one resource share it', () => {
  const stages: Stage[] = [
    { name: 'first', uses: { cpu: 0.001 } },
    { name: 'second', uses: { cpu: 0.001 } },
  ];
  near(runFluid(1_000, stages, { cpu: 1 }).timeTo('second', 1), 2, 0.02);
});

test('a window holds a stage back to the pace of the stage it waits for', () => {
  const stages: Stage[] = [
    { name: 'sent', uses: { a: 0.0001 }, window: { ahead: 100, of: 'durable' } },
    { name: 'durable', uses: { b: 0.01 } },
  ];
  const run = runFluid(1_000, stages, { a: 1, b: 1 });
  near(run.timeTo('sent', 1), 9, 0.03);
  near(run.timeTo('durable', 1), 10, 0.02);
});

test('no stage is ahead of the one before it, and none goes back', () => {
  const stages: Stage[] = [
    { name: 'one', uses: { a: 0.002, b: 0.001 } },
    { name: 'two', loops: 2, uses: { b: 0.003 } },
    { name: 'three', uses: { a: 0.001, b: 0.002 } },
  ];
  const { curves } = runFluid(2_000, stages, { a: 1, b: 2 });
  const [one, two, three] = [curves.one ?? [], curves.two ?? [], curves.three ?? []];
  for (const [at, [, share]] of three.entries()) {
    assert.ok(share <= (two[at]?.[1] ?? 0) + 1e-9 && (two[at]?.[1] ?? 0) <= (one[at]?.[1] ?? 0) + 1e-9);
    if (at > 0) assert.ok(share >= (three[at - 1]?.[1] ?? 0));
  }
  assert.is(three.at(-1)?.[1], 1);
});

test('a resource nobody has is an error and not an endless run', () => {
  assert.throws(() => runFluid(1, [{ name: 'x', uses: { nothing: 1 } }], {}), /no resource named nothing/);
});

test.run();
