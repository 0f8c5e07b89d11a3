/** How far a sender's number may lag behind its highest: appends overtake each other a little. */
const WINDOW = 1_024;
/** A restarted administration server is another sender. */
const SENDERS = 1_000;

interface Seen {
  highest: number;
  /** The place of each number within the window. */
  places: Map<number, string>;
}

/**
 * The numbers accepted from each sender. A number is valid at one place only: reading the same entry again is
 * not a replay, but the same bytes appended again are one.
 */
export class Sequences {
  readonly #senders = new Map<string, Seen>();

  /** Whether `number` of `sender` at `place` is not a replay. */
  take(sender: string, number: number, place: string): boolean {
    const seen = this.#senders.get(sender) ?? { highest: 0, places: new Map<number, string>() };
    if (number <= seen.highest - WINDOW) return false;
    const before = seen.places.get(number);
    if (before !== undefined) return before === place;
    this.#senders.delete(sender);
    this.#senders.set(sender, seen);
    seen.places.set(number, place);
    if (number > seen.highest) this.#advance(seen, number);
    if (this.#senders.size > SENDERS) this.#forgetOne();
    return true;
  }

  #advance(seen: Seen, number: number): void {
    seen.highest = number;
    for (const each of seen.places.keys()) {
      if (each > number - WINDOW) break;
      seen.places.delete(each);
    }
  }

  #forgetOne(): void {
    for (const sender of this.#senders.keys()) {
      this.#senders.delete(sender);
      return;
    }
  }
}
