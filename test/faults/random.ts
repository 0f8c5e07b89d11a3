import { seeded } from '../seeded.ts';

/** Numbers that look random and are the same for the same seed. */
export class Random {
  /** From 0 up to 1. */
  readonly next: () => number;

  constructor(seed: string) {
    // FNV-1a
    let hash = 0x811c9dc5;
    for (const byte of Buffer.from(seed)) hash = Math.imul(hash ^ byte, 0x01000193);
    this.next = seeded(hash);
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** Throws when there is none. */
  one<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to draw from');
    return item;
  }

  /** So many different ones, or all when there are not as many. */
  some<T>(count: number, items: readonly T[]): T[] {
    const left = [...items];
    const drawn: T[] = [];
    while (drawn.length < count && left.length > 0) drawn.push(...left.splice(this.below(left.length), 1));
    return drawn;
  }
}
