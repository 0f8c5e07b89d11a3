import { drawChart, type Line } from '../plots/chart.ts';
import { type CostFigures, costNames, describeCost, figuresOf, type Measurements } from './costs.ts';
import { type FanoutSite, runFanout, STAGES, slowestFirst } from './fanout.ts';
import { type Bounds, type Habits, type Machines, planSite, type Site } from './site.ts';

/** What is planned with, stated in the document. */
export const machines: Machines = {
  gatewayCores: 8,
  gatewayMemoryGiB: 16,
  redisMemoryGiB: 16,
  sqlCores: 32,
  fill: 0.6,
};
export const habits: Habits = { connectsPerDay: 4, commandsPerDay: 4, keepDays: 30 };
export const bounds: Bounds = { devicesPerGateway: 50_000, returnSeconds: 60, admissionsPerWorker: 3_000 };
/** Devices of one installation where several stand side by side. */
export const cellDevices = 1_000_000;

export const FLEETS = [1e6, 1e7, 1e8];
/** Seconds. */
const TIMES = [0.1, 1, 10, 60, 600, 3_600, 36_000, 360_000];
const CURVE_FLEETS = [1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8];

export interface FleetReport {
  site: Site;
  reachedSeconds: number;
  durableSeconds: number;
  /** Slowest first. */
  stages: { stage: string; perSecond: number }[];
}

export function reportFleet(devices: number, costs: CostFigures): FleetReport {
  const site = planSite(devices, costs, { machines, habits, bounds });
  const fanout = fanoutOn(site);
  const run = runFanout(fanout, costs);
  return {
    site,
    reachedSeconds: run.timeTo('reached', 1),
    durableSeconds: run.timeTo('durable', 1),
    stages: slowestFirst(fanout, costs),
  };
}

function fanoutOn(site: Site): FanoutSite {
  return {
    devices: site.devices,
    workers: site.workers,
    gatewayCores: site.gateways * machines.gatewayCores,
    adminServers: site.adminServers,
    redisShards: site.redisShards,
    sqlCores: machines.sqlCores,
  };
}

/** A sentence in lines of at most 110 columns. */
function lines(text: string): string[] {
  return text.match(/\S.{0,109}(?=\s|$)/g) ?? [];
}

/** The figures of `docs/scaling.md`, as Markdown. */
export function figuresAsMarkdown(measurements: Measurements): string {
  const costs = figuresOf(measurements.costs);
  const reports = FLEETS.map((devices) => reportFleet(devices, costs));
  const cell = reportFleet(cellDevices, costs);
  const row = (name: string, value: (report: FleetReport) => string) =>
    `| ${name} | ${reports.map(value).join(' | ')} |`;
  return [
    ...lines(`Calculated from figures of ${measurements.conditions}`),
    '',
    `| | ${FLEETS.map((devices) => `${count(devices)} devices`).join(' | ')} |`,
    `|---|${FLEETS.map(() => '---:|').join('')}`,
    row('gateways (and what decides)', ({ site }) => `${whole(site.gateways)} (${site.gatewaysBecause})`),
    row('their workers', ({ site }) => whole(site.workers)),
    row('administration servers', ({ site }) => whole(site.adminServers)),
    row('Redis primaries', ({ site }) => whole(site.redisShards)),
    row('memory in Redis, GiB', ({ site }) => number(site.redisGiB)),
    row('busiest Redis primary, share of its core', ({ site }) => percent(site.redisBusiestLoad)),
    row('PostgreSQL, cores on an ordinary day', ({ site }) => number(site.sqlCoresAtRest)),
    row('PostgreSQL, rows changed a second', ({ site }) => whole(site.sqlRowsPerSecond)),
    row('PostgreSQL, GiB of ledger', ({ site }) => whole(site.sqlGiB)),
    row('one command to all: last device reached', ({ reachedSeconds }) => duration(reachedSeconds)),
    row('one command to all: every result durable', ({ durableSeconds }) => duration(durableSeconds)),
    row('saturates first', ({ stages }) => stageRate(stages[0])),
    row('then', ({ stages }) => stageRate(stages[1])),
    row(`in installations of ${count(cellDevices)}: how many`, ({ site }) =>
      whole(Math.ceil(site.devices / cellDevices)),
    ),
    row('the same: last device reached', () => duration(cell.reachedSeconds)),
    row('the same: every result durable', () => duration(cell.durableSeconds)),
    '',
    'What it is calculated from:',
    '',
    '| cost | figure | is | source |',
    '|---|---:|---|---|',
    ...costNames.map(
      (name) =>
        `| \`${name}\` | ${number(measurements.costs[name].figure)} | ${describeCost(name)} | ` +
        `${measurements.costs[name].source} |`,
    ),
    '',
    'The model against fan-outs that were measured:',
    '',
    '| devices | measured: reached, durable | model: reached, durable | source |',
    '|---:|---:|---:|---|',
    ...measurements.points.map((point) => {
      const run = runFanout(pointSite(point), costs);
      return (
        `| ${whole(point.devices)} | ${duration(point.reachedMs / 1e3)}, ` +
        `${duration(point.durableMs / 1e3)} | ${duration(run.timeTo('reached', 1))}, ` +
        `${duration(run.timeTo('durable', 1))} | ${point.source} |`
      );
    }),
  ].join('\n');
}

/**
 * The bench's machine: one gateway, one administration server, Redis, the store and the load share its cores.
 */
export function pointSite(point: { devices: number; workers: number; cores: number }): FanoutSite {
  return {
    devices: point.devices,
    workers: point.workers,
    gatewayCores: point.workers,
    adminServers: 1,
    redisShards: 1,
    sqlCores: point.cores,
    oneMachineCores: point.cores,
  };
}

/** File name and SVG of every plot of `docs/scaling.md`. */
export function plots(measurements: Measurements): Record<string, string> {
  const costs = figuresOf(measurements.costs);
  const reports = CURVE_FLEETS.map((devices) => ({ devices, ...reportFleet(devices, costs) }));
  const cells = CURVE_FLEETS.map((devices) => ({
    devices,
    ...reportFleet(Math.min(devices, cellDevices), costs),
  }));
  const line = <T extends { devices: number }>(
    name: string,
    from: readonly T[],
    value: (each: T) => number,
  ): Line => ({
    name,
    points: from.map((each) => [each.devices, Math.max(value(each), 1e-6)] as const),
  });
  const devicesAxis = { title: 'devices', scale: 'log', from: 1e4, to: 1e8, format: count } as const;
  const million = fanoutOn(planSite(1e6, costs, { machines, habits, bounds }));
  const run = runFanout(million, costs);
  return {
    'time-to-all.svg': drawChart({
      title: 'One command to all devices',
      x: devicesAxis,
      y: { title: 'time to the last device', scale: 'log', marks: TIMES, format: duration },
      lines: [
        line('reached', reports, (each) => each.reachedSeconds),
        line('result durable', reports, (each) => each.durableSeconds),
        line(`reached, in installations of ${count(cellDevices)}`, cells, (each) => each.reachedSeconds),
        line(`durable, in installations of ${count(cellDevices)}`, cells, (each) => each.durableSeconds),
      ],
    }),
    'one-million.svg': drawChart({
      title: 'One command to 1 million devices, stage by stage',
      x: {
        title: 'time',
        scale: 'linear',
        from: 0,
        marks: evenTimes(run.timeTo('durable', 1)),
        format: duration,
      },
      y: { title: 'share of the devices', scale: 'linear', from: 0, to: 1, format: percent },
      lines: STAGES.map((name) => ({ name, points: thinned(run.curves[name] ?? []) })),
    }),
    'load.svg': drawChart({
      title: 'An ordinary day: how much of what one installation can have is used',
      x: devicesAxis,
      y: { title: 'share of capacity', scale: 'log', from: 1e-5, to: 1, format: percent },
      lines: [
        line(
          `PostgreSQL, ${machines.sqlCores} cores`,
          reports,
          ({ site }) => site.sqlCoresAtRest / machines.sqlCores,
        ),
        line('busiest Redis primary', reports, ({ site }) => site.redisBusiestLoad),
        line(
          'Redis memory, 16 primaries',
          reports,
          ({ site }) => site.redisGiB / (machines.redisMemoryGiB * 16),
        ),
      ],
    }),
  };
}

/** Every so many seconds or minutes, six times or so. */
function evenTimes(seconds: number): number[] {
  const step =
    [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600].find((each) => each * 7 >= seconds) ??
    7_200;
  return Array.from({ length: Math.floor(seconds / step) + 1 }, (_, at) => at * step);
}

function thinned(points: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  const every = Math.max(1, Math.floor(points.length / 150));
  return points.filter((_, at) => at % every === 0 || at === points.length - 1);
}

function stageRate(stage: { stage: string; perSecond: number } | undefined): string {
  return stage === undefined ? '' : `${stage.stage}, ${whole(stage.perSecond)}/s`;
}

const whole = (value: number) => Math.round(value).toLocaleString('en');
const number = (value: number) => (value >= 100 ? whole(value) : String(Number(value.toPrecision(2))));
const percent = (value: number) => `${Number((value * 100).toPrecision(2))} %`;

function count(value: number): string {
  if (value >= 1e6) return `${value / 1e6} million`;
  return value.toLocaleString('en');
}

function duration(seconds: number): string {
  if (seconds === 0) return '0';
  if (seconds < 0.0995) return `${Number((seconds * 1e3).toPrecision(2))} ms`;
  if (seconds >= 60 && seconds < 600 && seconds % 30 === 0) return `${seconds / 60} min`;
  if (seconds < 99.5) return `${Number(seconds.toPrecision(2))} s`;
  if (seconds < 3_570) return `${Math.round(seconds / 60)} min`;
  return `${Number((seconds / 3_600).toPrecision(2))} h`;
}
