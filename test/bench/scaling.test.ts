import { readFile } from 'node:fs/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MODEL_ERROR, withFigures } from '../../bench/scenarios/scaling.ts';
import { figuresOf, readMeasurements } from '../../bench/simulation/costs.ts';
import { appendsPerDevice, runFanout } from '../../bench/simulation/fanout.ts';
import { bounds, habits, machines, plots, pointSite } from '../../bench/simulation/report.ts';
import { MAX_REDIS_SHARDS, planSite } from '../../bench/simulation/site.ts';

const root = new URL('../../../', import.meta.url);
const measurements = await readMeasurements();
const costs = figuresOf(measurements.costs);
const plan = (devices: number) => planSite(devices, costs, { machines, habits, bounds });

test('the model is near every fan-out that was measured', () => {
  assert.ok(measurements.points.length > 0);
  for (const point of measurements.points) {
    const run = runFanout(pointSite(point), costs);
    const pairs: [number, number][] = [
      [run.timeTo('reached', 1) * 1e3, point.reachedMs],
      [run.timeTo('durable', 1) * 1e3, point.durableMs],
    ];
    for (const [model, measured] of pairs) {
      assert.ok(
        model / measured < MODEL_ERROR && measured / model < MODEL_ERROR,
        `${point.devices} devices: ${model} ms by the model, ${measured} ms measured`,
      );
    }
  }
});

test('more devices never need fewer machines', () => {
  const plans = [1e4, 1e5, 1e6, 1e7, 1e8].map(plan);
  for (const [at, site] of plans.slice(1).entries()) {
    const smaller = plans[at];
    assert.ok(smaller && site.gateways >= smaller.gateways && site.redisShards >= smaller.redisShards);
    assert.ok(site.sqlCoresAtRest > smaller.sqlCoresAtRest && site.redisGiB > smaller.redisGiB);
  }
});

test('the model survives the loss of a gateway at any size, and adds no primaries beyond its slots', () => {
  for (const devices of [1e3, 1e6, 1e9]) {
    const site = plan(devices);
    assert.ok(devices / (site.gateways - 1) <= bounds.devicesPerGateway);
    assert.ok(site.redisShards <= MAX_REDIS_SHARDS);
  }
});

test('a group order is one append for each worker and round, and no more than one for each device', () => {
  assert.ok(Math.abs(appendsPerDevice(1) - 0.0005) < 1e-9);
  assert.ok(appendsPerDevice(10_000) > 0.9 && appendsPerDevice(1e7) <= 1);
});

test('docs/scaling.md and its plots match the model (npm run bench -- scaling --write)', async () => {
  const text = await readFile(new URL('docs/scaling.md', root), 'utf8');
  assert.is(withFigures(text, measurements), text);
  for (const [name, svg] of Object.entries(plots(measurements))) {
    assert.is(await readFile(new URL(`docs/plots/${name}`, root), 'utf8'), svg);
    assert.ok(text.includes(`plots/${name}`), `docs/scaling.md does not show ${name}`);
  }
});

test.run();
