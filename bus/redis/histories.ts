import type { Topology } from './topology.ts';

/**
 * Which history of its data Redis is in, by place (`ServerFacts.history`). Replication is asynchronous, and a
 * restart may lose the last moments: when a place goes on with another history, something that was
 * acknowledged may be missing from it, and nothing in the data itself shows that. So whatever must not be
 * lost unnoticed is compared by history.
 */
export class Histories {
  readonly #topology: Topology;
  readonly #onChange: () => void;
  readonly #known = new Map<string, string>();
  /** Times that a place went on with another history. */
  changes = 0;

  constructor(topology: Topology, onChange: () => void) {
    this.#topology = topology;
    this.#onChange = onChange;
  }

  /** `history`: empty when the server does not say. */
  note(place: string, history: string): void {
    const before = this.#known.get(place);
    if (history === '' || before === history) return;
    this.#known.set(place, history);
    if (before !== undefined) this.changes += 1;
    this.#onChange();
  }

  /** Places came or went: one that is gone was replaced, or gave away what it served. */
  follow(): void {
    const places = this.#topology.places();
    for (const place of this.#known.keys()) {
      if (places.includes(place)) continue;
      this.#known.delete(place);
      this.changes += 1;
    }
    this.#onChange();
  }

  /** Of the place where `key` is now; `null` while unknown. */
  of(key: string): string | null {
    const place = this.#topology.placeOf(key);
    return place === null ? null : (this.#known.get(place) ?? null);
  }

  watch(keys: readonly string[]): HistoryWatch {
    return new HistoryWatch(this, keys);
  }
}

/** Whether any of some keys went on with another history since the watch began. */
export class HistoryWatch {
  readonly #histories: Histories;
  readonly #keys: readonly string[];
  readonly #seen: (string | null)[];

  constructor(histories: Histories, keys: readonly string[]) {
    this.#histories = histories;
    this.#keys = keys;
    this.#seen = keys.map((key) => histories.of(key));
  }

  /** Stays true once it is. What was not known at first counts from when it is. */
  changed(): boolean {
    for (const [index, key] of this.#keys.entries()) {
      const now = this.#histories.of(key);
      if (now === null || now === this.#seen[index]) continue;
      if (this.#seen[index] !== null) return true;
      this.#seen[index] = now;
    }
    return false;
  }
}
