import type { Runs } from './fleet-messages.ts';
import type { ExecutionView, Given } from './given.ts';

interface Step {
  id: string;
  type: string;
  order: number;
  issuedAt: number;
  finishedAt: number;
}

/**
 * Commands come in no guaranteed order (D-2), but one that was issued after another had succeeded is begun
 * after it. By the clock of the one server that wrote both times.
 */
export function outOfOrder(
  given: readonly Given[],
  rows: ReadonlyMap<string, readonly ExecutionView[]>,
  runs: ReadonlyMap<string, readonly Runs[]>,
): string[] {
  const problems: string[] = [];
  for (const [device, steps] of stepsByDevice(given, rows, runs)) {
    steps.sort((a, b) => b.order - a.order);
    // Of those begun later than the one that is looked at, the one that ended first.
    let first: Step | undefined;
    for (const step of steps) {
      if (first && first.finishedAt < step.issuedAt) {
        const told = [step, first].map(
          ({ id, type, issuedAt, finishedAt }) => `${type} ${id} (${issuedAt} to ${finishedAt})`,
        );
        problems.push(`outOfOrder: ${device} began ${told.join(' before ')}`);
      }
      if (!first || step.finishedAt < first.finishedAt) first = step;
    }
  }
  return problems;
}

function stepsByDevice(
  given: readonly Given[],
  rows: ReadonlyMap<string, readonly ExecutionView[]>,
  runs: ReadonlyMap<string, readonly Runs[]>,
): Map<string, Step[]> {
  const devices = new Map<string, Step[]>();
  for (const { id, type } of given) {
    const orders = new Map(runs.get(id)?.map(({ device, order }) => [device, order]));
    for (const { deviceId, state, issuedAt, finishedAt } of rows.get(id) ?? []) {
      const order = orders.get(deviceId);
      if (order === undefined || state !== 'succeeded' || finishedAt === null) continue;
      const step = { id, type, order, issuedAt: Date.parse(issuedAt), finishedAt: Date.parse(finishedAt) };
      const steps = devices.get(deviceId);
      if (steps) steps.push(step);
      else devices.set(deviceId, [step]);
    }
  }
  return devices;
}
