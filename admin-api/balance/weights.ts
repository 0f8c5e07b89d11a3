/**
 * Weights for the ranking: a gateway's free capacity in eighths of its limit, so that they change only now
 * and then. The directory holds the current weights; every administration server computes the next ones from
 * them in the same way.
 */
import type { FleetGateway } from './fleet.ts';

const STEPS = 8;
/** How far the free capacity must pass a step's edge before the step changes, in steps. */
const STICKY = 0.25;

/**
 * The weight of a gateway: its limit times the eighths of it that are free, rounded up; 0 while it admits
 * nobody. `before` is the current weight, absent for a new gateway.
 */
export function gatewayWeight(
  gateway: Pick<FleetGateway, 'admitting' | 'connectionLimit' | 'capacity' | 'connections'>,
  before?: number,
): number {
  if (!gateway.admitting) return 0;
  const limit = gateway.connectionLimit;
  const free = ((gateway.capacity - gateway.connections) / limit) * STEPS;
  const held = Math.round(((before ?? 0) / limit) * STEPS);
  const stays = held > 0 && held <= STEPS && free > held - 1 - STICKY && free < held + STICKY;
  const steps = stays ? held : Math.max(1, Math.ceil(free));
  return Math.max(1, Math.round((steps * limit) / STEPS));
}
