import type { TestDevice } from '../e2e/fleet.ts';

/** What happened to somebody honest, in words. */
export type Harm = string;

export function fleetClosings(fleet: readonly TestDevice[]): Harm[] {
  return fleet.flatMap(({ name, closings }) =>
    closings.map(({ code, reason }) => `${name}: ${code} ${reason}`),
  );
}
