import type { CostFigures } from './costs.ts';

/** Machines to build from, and how far they are loaded. */
export interface Machines {
  gatewayCores: number;
  gatewayMemoryGiB: number;
  redisMemoryGiB: number;
  sqlCores: number;
  /** Share of a core, or of memory, that is planned with; the rest is for bad days. */
  fill: number;
}

/** What devices and operators do on an ordinary day. */
export interface Habits {
  /** Connects of a device in a day: restarts, networks that change. */
  connectsPerDay: number;
  /** Commands a device gets in a day, one of them with all the others at once. */
  commandsPerDay: number;
  /** Days an execution stays in the ledger. */
  keepDays: number;
}

/** No gateway is planned with more devices than one was measured with. */
export interface Bounds {
  devicesPerGateway: number;
  /** After a gateway is lost, all its devices are back on the others within this time. */
  returnSeconds: number;
  /** Newcomers a worker takes a second (`--upgrades-per-second`). */
  admissionsPerWorker: number;
}

/**
 * Presence and directory are spread over 16 hash slots (`bus/redis/keys.ts`), so more primaries are of no
 * use.
 */
export const MAX_REDIS_SHARDS = 16;

export interface Site {
  devices: number;
  gateways: number;
  /** Which bound decided. */
  gatewaysBecause: string;
  workers: number;
  redisShards: number;
  redisGiB: number;
  /** Share of one core of the shard that has the stream of receipts, on an ordinary day. */
  redisBusiestLoad: number;
  adminServers: number;
  /** Cores PostgreSQL uses on an ordinary day, the daily command to all spread over the day. */
  sqlCoresAtRest: number;
  sqlRowsPerSecond: number;
  sqlGiB: number;
}

const DAY_S = 86_400;
const GiB = 2 ** 30;

export function planSite(
  devices: number,
  costs: CostFigures,
  { machines, habits, bounds }: { machines: Machines; habits: Habits; bounds: Bounds },
): Site {
  const { gateways, because } = countGateways(devices, costs, machines, bounds);
  const connectsPerSecond = (devices * habits.connectsPerDay) / DAY_S;
  const executionsPerSecond = (devices * habits.commandsPerDay) / DAY_S;
  const load = (usPerConnect: number, usPerExecution: number) =>
    (connectsPerSecond * usPerConnect + executionsPerSecond * usPerExecution) / 1e6;

  const redisBytes = devices * costs.redisBytesPerDevice;
  const receipts = load(costs.redisUsPerAdmission / 2, costs.redisUsPerReceipts);
  const others = load(costs.redisUsPerAdmission / 2, costs.redisUsPerDispatch + costs.redisUsPerAppend);
  const redisShards = clamp(
    Math.max(
      Math.ceil(redisBytes / (machines.redisMemoryGiB * machines.fill * GiB)),
      Math.ceil((receipts + others) / machines.fill),
    ),
    1,
    MAX_REDIS_SHARDS,
  );
  const adminLoad = load(
    costs.adminUsPerAdmission,
    costs.adminUsPerExpansion + costs.adminUsPerDispatch + costs.adminUsPerIngest,
  );
  return {
    devices,
    gateways,
    gatewaysBecause: because,
    workers: gateways * machines.gatewayCores,
    redisShards,
    redisGiB: redisBytes / GiB,
    redisBusiestLoad: receipts + others / redisShards,
    // Two at least: one may be restarted.
    adminServers: Math.max(2, Math.ceil(adminLoad / machines.fill)),
    sqlCoresAtRest: load(
      costs.sqlUsPerAdmission,
      costs.sqlUsPerExpansion + costs.sqlUsPerDispatch + costs.sqlUsPerIngest,
    ),
    // Made, sent, acknowledged, ended; connected and gone.
    sqlRowsPerSecond: executionsPerSecond * 4 + connectsPerSecond * 2,
    sqlGiB: (devices * habits.commandsPerDay * habits.keepDays * costs.sqlBytesPerExecution) / GiB,
  };
}

function countGateways(devices: number, costs: CostFigures, machines: Machines, bounds: Bounds) {
  const memory = machines.gatewayMemoryGiB * machines.fill * GiB;
  const cpu = machines.gatewayCores * machines.fill;
  const perGateway = {
    'devices measured on one': bounds.devicesPerGateway,
    memory: memory / (costs.gatewayBytesPerDevice + costs.kernelBytesPerDevice),
    'CPU at rest': (cpu * 60e6) / costs.gatewayUsPerDeviceMinute,
  };
  const [because, most] = Object.entries(perGateway).reduce((least, each) =>
    each[1] < least[1] ? each : least,
  );
  let gateways = Math.ceil(devices / most);
  let why = because;
  // The devices of one that is lost go to all others together; with few gateways that is much for each.
  const upgradesPerSecond =
    machines.gatewayCores * Math.min(bounds.admissionsPerWorker, 1e6 / costs.gatewayUsPerAdmission);
  while (devices / gateways / Math.max(1, gateways - 1) / upgradesPerSecond > bounds.returnSeconds) {
    gateways += 1;
    why = 'return after a loss';
  }
  // One more than needed, so that one may be lost.
  return { gateways: gateways + 1, because: why };
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
