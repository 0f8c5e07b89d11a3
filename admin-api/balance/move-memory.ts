import type { Placed, Slice } from './classes.ts';

/** How long a move may take to be recorded; after that the recorded gateway counts. */
const ARRIVAL_MS = 30_000;

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

  /** Leaves the device alone for a while without counting it as moved. */
  rest(device: string, now: number): void {
    this.#resting.delete(device);
    this.#resting.set(device, now + this.#dwellMs);
  }

  forgetOld(now: number): void {
    for (const [device, until] of this.#resting) {
      if (until > now) break;
      this.#resting.delete(device);
    }
  }

  clear(): void {
    this.#resting.clear();
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
