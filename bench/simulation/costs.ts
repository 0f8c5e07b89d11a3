import { readFile, stat } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';

/**
 * The input of the model: measured figures, each with its source. CPU is in microseconds of one core. "An
 * execution" is one command on one device, from the insertion of its row to the confirmation of its result.
 */
const COSTS = {
  gatewayBytesPerDevice: 'bytes: PSS of a gateway for an idle session',
  kernelBytesPerDevice: "bytes: the kernel's end of an idle connection",
  gatewayUsPerAdmission: 'µs: handshake, Ed25519 proof included',
  gatewayUsPerDeviceMinute: 'µs: heartbeats and pings of an idle session in a minute',
  gatewayUsPerExecution: 'µs: delivering an order, taking its receipts in, handing the confirmation on',
  adminUsPerAdmission: 'µs: taking in what a connect and a disconnect change',
  adminUsPerExpansion: 'µs: making the row of an execution',
  adminUsPerDispatch: 'µs: finding the worker, marking as sent, appending',
  adminUsPerIngest: 'µs: applying acknowledgement and result, confirming them',
  redisUsPerAdmission: 'µs: directory, presence and receipts of a connect',
  redisUsPerDispatch: 'µs: locating a device and its part of an append',
  redisUsPerAppend: 'µs: one append to one outbox, whoever it is for',
  redisUsPerReceipts: 'µs: acknowledgement and result of an execution in the stream of receipts',
  redisBytesPerDevice: 'bytes: directory and presence of a device',
  sqlUsPerAdmission: 'µs: rows that a connect and a disconnect change',
  sqlUsPerExpansion: 'µs: the row of an execution',
  sqlUsPerDispatch: 'µs: reading what is queued, marking it as sent',
  sqlUsPerIngest: 'µs: acknowledgement and result of an execution',
  sqlBytesPerExecution: 'bytes: a finished execution in PostgreSQL, indexes included',
  loadUsPerExecution: 'µs: the load generator, for the comparison with what was measured beside it',
} as const;

export type CostName = keyof typeof COSTS;

export interface Cost {
  figure: number;
  /** Scenario and what of the row it comes from, or where else it was read. */
  source: string;
}

export type Costs = Readonly<Record<CostName, Cost>>;

export const costNames = Object.keys(COSTS) as CostName[];
export const describeCost = (name: CostName): string => COSTS[name];

/** A measured fan-out, with which the model is compared. */
export interface MeasuredPoint {
  devices: number;
  workers: number;
  cores: number;
  reachedMs: number;
  durableMs: number;
  source: string;
}

export interface Measurements {
  /** Machine, versions and date of the measurement. */
  conditions: string;
  costs: Costs;
  points: readonly MeasuredPoint[];
}

/** As `npm run bench -- … --json FILE` writes them. */
interface Row {
  scenario: string;
  what: string;
  figure: number | null;
}

/** Rows of the scenario `costs` beside the costs themselves. */
export const DEVICES_ROW = 'devices';
export const REACHED_ROW = 'one command to all: last device reached';
export const DURABLE_ROW = 'one command to all: every result durable';
/** Of every scenario. */
const OTHERS_ROW = 'share of the machine that others used meanwhile';
/** The scenario's gateway, and the machine it is run on. */
const WORKERS = 2;
const CORES = availableParallelism();

export const committedMeasurements = new URL('../../../bench/simulation/measured.json', import.meta.url);

/**
 * The committed figures, with those of the scenario `costs` in `rowsFile` in their place. Throws when one is
 * missing or no number.
 */
export async function readMeasurements(rowsFile?: string): Promise<Measurements> {
  const committed = JSON.parse(await readFile(committedMeasurements, 'utf8')) as Measurements;
  const costs = { ...committed.costs };
  let { points, conditions } = committed;
  if (rowsFile !== undefined) {
    const { rows } = JSON.parse(await readFile(rowsFile, 'utf8')) as { rows: Row[] };
    const figures = new Map(
      rows.filter((row) => row.scenario === 'costs').map(({ what, figure }) => [what, figure]),
    );
    const devices = figures.get(DEVICES_ROW) ?? 0;
    for (const name of costNames) {
      const figure = figures.get(name);
      if (typeof figure === 'number')
        costs[name] = { figure, source: `scenario \`costs\`, ${devices} devices` };
    }
    const others = figures.get(OTHERS_ROW) ?? 0;
    conditions = conditionsNow((await stat(rowsFile)).mtime, others);
    points = withPoint(points, {
      devices,
      workers: WORKERS,
      cores: CORES,
      reachedMs: figures.get(REACHED_ROW) ?? Number.NaN,
      durableMs: figures.get(DURABLE_ROW) ?? Number.NaN,
      source: 'scenario `costs`',
    });
  }
  for (const name of costNames) {
    if (!(costs[name]?.figure >= 0))
      throw new Error(`no measured figure for ${name} (${describeCost(name)})`);
  }
  return { conditions, costs, points };
}

function conditionsNow(measuredAt: Date, othersPercent: number): string {
  const day = measuredAt.toISOString().slice(0, 10);
  const machine = `${CORES} cores (${cpus()[0]?.model.trim() || 'unknown'})`;
  return (
    `${day}, Node.js ${process.versions.node}, ${machine}, everything on it; others used ` +
    `${Math.round(othersPercent)} % of it meanwhile.`
  );
}

/** Replaces the fan-out with the same number of devices, if there is one. */
function withPoint(points: readonly MeasuredPoint[], point: MeasuredPoint): MeasuredPoint[] {
  if (!(point.reachedMs > 0)) return [...points];
  return [...points.filter(({ devices }) => devices !== point.devices), point].sort(
    (a, b) => a.devices - b.devices,
  );
}

/** Plain numbers, for the arithmetic. */
export type CostFigures = Readonly<Record<CostName, number>>;

export function figuresOf(costs: Costs): CostFigures {
  return Object.fromEntries(costNames.map((name) => [name, costs[name].figure])) as Record<CostName, number>;
}
