import type { Placed, Slice } from './classes.ts';

/** How long a move may take to be recorded; after that the recorded gateway counts. */
const ARRIVAL_MS = 30_000;
/** A device that was sent away, and is still there, is sent away again after this long. */
const AGAIN_MS = 15_000;

interface Move {
  from: string;
  to: string;
  slice: Slice;
  at: number;
}

/**
 * Recently moved devices. A device is moved at most once in `dwellMs`; until its arrival is recorded, it
 * counts at its destination. The number of moves in that time bounds the memory.
 */
export class MoveMemory {
  readonly #dwellMs: number;
  /** When each device may be moved again, the oldest first. */
  readonly #resting = new Map<string, number>();
  /** When each device may be sent away again, the oldest first. */
  readonly #sentAway = new Map<string, number>();
  readonly #underWay = new Map<string, Move>();

  constructor(dwellMs: number) {
    this.#dwellMs = dwellMs;
  }

  rests(device: string): boolean {
    return this.#resting.has(device);
  }

  moved(device: string, move: Move): void {
    this.#resting.delete(device);
    this.#resting.set(device, move.at + this.#dwellMs);
    this.#underWay.set(device, move);
  }

  /**
   * Whether the device was sent away from outside its scope just now. Its dwell does not matter: it must not
   * stay there, even if it was moved a moment before.
   */
  wasSentAway(device: string): boolean {
    return this.#sentAway.has(device);
  }

  sentAway(device: string, now: number): void {
    this.#sentAway.delete(device);
    this.#sentAway.set(device, now + AGAIN_MS);
  }

  forgetOld(now: number): void {
    for (const times of [this.#resting, this.#sentAway]) {
      for (const [device, until] of times) {
        if (until > now) break;
        times.delete(device);
      }
    }
  }

  clear(): void {
    this.#resting.clear();
    this.#sentAway.clear();
    this.#underWay.clear();
  }

  underWay(): string[] {
    return [...this.#underWay.keys()];
  }

  /**
   * What to add to the recorded counts for devices being moved; `at` is the recorded gateway of each, `null`
   * for none.
   */
  corrections(at: ReadonlyMap<string, string | null>, now: number): Placed[] {
    const corrections: Placed[] = [];
    for (const [device, move] of this.#underWay) {
      const here = at.get(device);
      const left = here === null || here === move.from;
      if (!left || here === undefined || now - move.at > ARRIVAL_MS) {
        this.#underWay.delete(device);
        continue;
      }
      corrections.push({ ...move.slice, gateway: move.to, devices: 1 });
      if (here === move.from) corrections.push({ ...move.slice, gateway: move.from, devices: -1 });
    }
    return corrections;
  }
}
