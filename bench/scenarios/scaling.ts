/**
 * Beyond one machine: calculates with measured costs instead of measuring. Says what 1, 10 and 100 million
 * devices need, how long one command to all takes, and how far the model is from measured fan-outs.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { Bench, Scenario } from '../scenario.ts';
import {
  committedMeasurements,
  figuresOf,
  type Measurements,
  readMeasurements,
} from '../simulation/costs.ts';
import { runFanout } from '../simulation/fanout.ts';
import { FLEETS, figuresAsMarkdown, plots, pointSite, reportFleet } from '../simulation/report.ts';

const DOCUMENT = new URL('../../../docs/scaling.md', import.meta.url);
const PLOTS = new URL('../../../docs/plots/', import.meta.url);
/** The model counts as good if it differs from the measurements by at most this factor, either way. */
export const MODEL_ERROR = 1.5;

export const scaling: Scenario = {
  name: 'scaling',
  title: 'simulation of 1, 10 and 100 million devices from measured costs',
  // Nobody connects.
  devices: 1,
  quickDevices: 1,
  run,
};

async function run(bench: Bench): Promise<void> {
  const measurements = await readMeasurements(bench.measuredFile);
  const costs = figuresOf(measurements.costs);
  for (const point of measurements.points) {
    const model = runFanout(pointSite(point), costs);
    const far = (seconds: number, ms: number) => Math.max((seconds * 1e3) / ms, ms / (seconds * 1e3));
    const name = `model and measurement, ${point.devices} devices`;
    bench.figure(`${name}: last reached`, 'times', far(model.timeTo('reached', 1), point.reachedMs), {
      atMost: MODEL_ERROR,
    });
    bench.figure(`${name}: durable`, 'times', far(model.timeTo('durable', 1), point.durableMs), {
      atMost: MODEL_ERROR,
    });
  }
  for (const devices of FLEETS) {
    const { site, reachedSeconds, durableSeconds, stages } = reportFleet(devices, costs);
    const of = `${devices / 1e6} million devices`;
    bench.figure(`${of}: gateways`, 'machines', site.gateways);
    bench.figure(`${of}: Redis primaries`, 'processes', site.redisShards);
    bench.figure(`${of}: PostgreSQL on an ordinary day`, 'cores', site.sqlCoresAtRest);
    bench.figure(`${of}: one command to all, last reached`, 's', reachedSeconds);
    bench.figure(`${of}: one command to all, every result durable`, 's', durableSeconds);
    bench.figure(
      `${of}: slowest stage (${stages[0]?.stage})`,
      'devices/s',
      stages[0]?.perSecond ?? Number.NaN,
    );
  }
  if (bench.writeDocs) await writeDocuments(bench, measurements);
}

async function writeDocuments(bench: Bench, measurements: Measurements): Promise<void> {
  await writeFile(DOCUMENT, withFigures(await readFile(DOCUMENT, 'utf8'), measurements));
  await mkdir(PLOTS, { recursive: true });
  for (const [name, svg] of Object.entries(plots(measurements))) await writeFile(new URL(name, PLOTS), svg);
  await writeFile(committedMeasurements, `${JSON.stringify(measurements, null, 2)}\n`);
  bench.say('docs/scaling.md and docs/plots written');
}

const BEGIN = '<!-- figures: written by `npm run bench -- scaling --write` -->\n';
const END = '<!-- /figures -->';

/** The document with new figures between its two marks. Throws if a mark is missing. */
export function withFigures(text: string, measurements: Measurements): string {
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END);
  if (from < 0 || to < from) throw new Error('docs/scaling.md has no place for the figures');
  return `${text.slice(0, from)}${BEGIN}\n${figuresAsMarkdown(measurements)}\n\n${text.slice(to)}`;
}
