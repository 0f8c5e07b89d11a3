import type { ProgramName } from './deployment.ts';
import type { Random } from './random.ts';
import type { TrafficKind } from './traffic-kinds.ts';
import type { World } from './world.ts';

/** Something that goes wrong in a world. */
export interface Fault {
  /** For people: `gw1 killed`. */
  name: string;
  /** What it happens to; two at once happen to different things. */
  to: ProgramName | 'redis' | 'postgres' | 'disk' | 'devices' | 'links';
  begin(world: World, random: Random): Promise<void> | void;
  /** Takes it back; absent where it is over by itself. */
  end?(world: World): Promise<void> | void;
  /** Its end waits for something that may not happen while another fault is in force. */
  endsLast?: boolean;
  /** How long it is in force, milliseconds. */
  holdMs: number;
  /** Everything has to work while it is in force, so recovery is measured before its end as well. */
  survivable?: boolean;
  /** Recorded times are not comparable. */
  misdates?: boolean;
  /** What it takes from whom, long enough to be noticed: they have to say so while it is in force. */
  darkens?: { from: 'admins' | 'everybody' | ProgramName; dependency: 'bus' | 'store' };
  /** What is asked of commands while it goes on; the usual when absent. */
  traffic?: TrafficKind;
  /** Devices may not lose their connections by it. */
  keepsSockets?: boolean;
}

/**
 * Times of the faults, milliseconds: as the field has them, or the shortest that still cross every deadline.
 */
export interface Times {
  /** A program stands still: longer than a lease. */
  stopped: number;
  /** Redis stands still, or nobody can be reached. */
  away: number;
  /** Until a program that died is started again. */
  dead: number;
  slow: number;
  /** How far a replica is behind. */
  lag: number;
  /** How long programs are killed at random. */
  killing: number;
}

export const FULL: Times = {
  stopped: 30_000,
  away: 60_000,
  dead: 4_000,
  slow: 10_000,
  lag: 4_000,
  killing: 180_000,
};
export const QUICK: Times = {
  stopped: 14_000,
  away: 14_000,
  dead: 1_500,
  slow: 5_000,
  lag: 2_000,
  killing: 30_000,
};
