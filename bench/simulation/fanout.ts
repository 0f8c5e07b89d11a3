import type { CostFigures } from './costs.ts';
import { fastest, type Resources, type Run, runFluid, type Stage } from './fluid.ts';

/**
 * Unacknowledged executions of one worker (`admin-api/dispatch/send-window.ts`), and devices handed over at a
 * time (`expander.ts`).
 */
const WINDOW_PER_WORKER = 20_000;
const ROUND = 2_000;

/** The machines and programs that a command to all devices runs on. */
export interface FanoutSite {
  devices: number;
  workers: number;
  /** Cores of all gateways together. */
  gatewayCores: number;
  adminServers: number;
  redisShards: number;
  sqlCores: number;
  /** Everything, load generator included, shares so many cores: the bench's machine. */
  oneMachineCores?: number;
}

export const STAGES = ['rows made', 'sent', 'reached', 'receipts taken', 'durable'] as const;

/**
 * The way of one command to all. The administration server that took the command makes its rows and
 * dispatches them, each in one loop; all administration servers take in receipts, one loop each. Redis:
 * presence and outboxes are spread over the shards, the stream of receipts is on one. A group command is one
 * frame for each worker and round, so the more workers, the more appends.
 */
export function fanoutStages(
  site: FanoutSite,
  costs: CostFigures,
): { stages: Stage[]; resources: Resources } {
  const appends = appendsPerDevice(site.workers);
  const seconds = (us: number) => us / 1e6;
  const redisDispatch = seconds(costs.redisUsPerDispatch + appends * costs.redisUsPerAppend);
  const machine = (...us: number[]): Record<string, number> =>
    site.oneMachineCores === undefined ? {} : { machine: us.reduce((sum, each) => sum + seconds(each), 0) };
  const gatewayHalf = costs.gatewayUsPerExecution / 2;
  const loadHalf = costs.loadUsPerExecution / 2;
  const stages: Stage[] = [
    {
      name: 'rows made',
      loops: 1,
      uses: { dispatcher: seconds(costs.adminUsPerExpansion), sql: seconds(costs.sqlUsPerExpansion) },
    },
    {
      name: 'sent',
      loops: 1,
      uses: {
        dispatcher: seconds(costs.adminUsPerDispatch),
        sql: seconds(costs.sqlUsPerDispatch),
        redis: redisDispatch,
      },
      window: { ahead: WINDOW_PER_WORKER * site.workers, of: 'durable' },
    },
    { name: 'reached', uses: { gateways: seconds(gatewayHalf) } },
    {
      name: 'receipts taken',
      uses: { gateways: seconds(gatewayHalf), receipts: seconds(costs.redisUsPerReceipts) },
    },
    {
      name: 'durable',
      loops: site.adminServers,
      uses: { ingest: seconds(costs.adminUsPerIngest), sql: seconds(costs.sqlUsPerIngest) },
    },
  ];
  if (site.oneMachineCores !== undefined) {
    const total: Record<string, Record<string, number>> = {
      'rows made': machine(costs.adminUsPerExpansion, costs.sqlUsPerExpansion),
      sent: machine(costs.adminUsPerDispatch, costs.sqlUsPerDispatch, redisDispatch * 1e6),
      reached: machine(gatewayHalf, loadHalf),
      'receipts taken': machine(gatewayHalf, loadHalf, costs.redisUsPerReceipts),
      durable: machine(costs.adminUsPerIngest, costs.sqlUsPerIngest),
    };
    for (const stage of stages) stage.uses = { ...stage.uses, ...total[stage.name] };
  }
  return {
    stages,
    resources: {
      dispatcher: 1,
      ingest: site.adminServers,
      sql: site.sqlCores,
      redis: site.redisShards,
      receipts: 1,
      gateways: site.gatewayCores,
      ...(site.oneMachineCores === undefined ? {} : { machine: site.oneMachineCores }),
    },
  };
}

export function runFanout(site: FanoutSite, costs: CostFigures): Run {
  const { stages, resources } = fanoutStages(site, costs);
  return runFluid(site.devices, stages, resources);
}

/** Executions a second of each stage alone, slowest first: what saturates first, and what would next. */
export function slowestFirst(site: FanoutSite, costs: CostFigures): { stage: string; perSecond: number }[] {
  const { stages, resources } = fanoutStages(site, costs);
  return stages
    .map((stage) => ({ stage: stage.name, perSecond: fastest(stage, resources) }))
    .sort((a, b) => a.perSecond - b.perSecond);
}

/** Appends to outboxes for each device of a round: one for each worker that holds one of them at least. */
export function appendsPerDevice(workers: number): number {
  return (workers * (1 - (1 - 1 / workers) ** ROUND)) / ROUND;
}
