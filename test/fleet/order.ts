import type { Runs } from './fleet-messages.ts';
import type { ExecutionView, Given } from './given.ts';

interface Step {
  id: string;
  askedAt: number;
  answeredAt: number;
  order: number;
}

/**
 * A device begins commands in the order in which they were given: of two, the one that was answered before the other was asked
 * for is begun first, unless one of them had to be sent again.
 */
export function outOfOrder(
  given: readonly Given[],
  rows: ReadonlyMap<string, readonly ExecutionView[]>,
  runs: ReadonlyMap<string, readonly Runs[]>,
): string[] {
  const problems: string[] = [];
  const steps = new Map<string, Step[]>();
  for (const { id, askedAt, answeredAt } of given) {
    const once = new Set(
      rows
        .get(id)
        ?.filter(({ attempts }) => attempts === 1)
        .map((row) => row.deviceId),
    );
    for (const { device, place, order, cutShort } of runs.get(id) ?? []) {
      if (!once.has(device) || place !== 0 || cutShort > 0) continue;
      steps.set(device, [...(steps.get(device) ?? []), { id, askedAt, answeredAt, order }]);
    }
  }
  for (const [device, own] of steps) {
    own.sort((a, b) => a.order - b.order);
    // Of those begun later, the one that was answered first.
    let earliest: Step | undefined;
    for (const step of own.reverse()) {
      if (earliest && earliest.answeredAt < step.askedAt) {
        const told = [step, earliest].map(({ id }) => story(id, device, given, rows)).join(' before ');
        problems.push(`outOfOrder: ${device} began ${told}, which was given earlier`);
      }
      if (!earliest || step.answeredAt < earliest.answeredAt) earliest = step;
    }
  }
  return problems;
}

function story(
  id: string,
  device: string,
  given: readonly Given[],
  rows: ReadonlyMap<string, readonly ExecutionView[]>,
): string {
  const { type, devices } = given.find((each) => each.id === id) ?? {};
  const row = rows.get(id)?.find(({ deviceId }) => deviceId === device);
  return `${type} ${id} (to ${devices?.length}, issued ${row?.issuedAt}, sent ${row?.sentAt}, acked ${row?.ackedAt})`;
}
