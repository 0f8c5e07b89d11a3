import type { Topology } from './topology.ts';

/**
 * Tracks the replication history of Redis's data, by place (`ServerFacts.history`). Replication is
 * asynchronous, and a restart may lose the last moments: when a place continues with another history,
 * acknowledged writes may be missing, and nothing in the data itself shows that. Code that must notice such a
 * loss therefore compares histories.
 */
export class Histories {
  readonly #topology: Topology;
  readonly #onChange: () => void;
  readonly #known = new Map<string, string>();
  /** Times that a place continued with another history. */
  changes = 0;

  constructor(topology: Topology, onChange: () => void) {
    this.#topology = topology;
    this.#onChange = onChange;
  }

  /** `history`: empty when the server does not report it. */
  note(place: string, history: string): void {
    const before = this.#known.get(place);
    if (history === '' || before === history) return;
    this.#known.set(place, history);
    if (before !== undefined) this.changes += 1;
    this.#onChange();
  }

  /** Places changed: a place that is gone was replaced, or gave its keys away. */
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

/** Whether any of the given keys got another history since the watch began. */
export class HistoryWatch {
  readonly #histories: Histories;
  readonly #keys: readonly string[];
  readonly #seen: (string | null)[];

  constructor(histories: Histories, keys: readonly string[]) {
    this.#histories = histories;
    this.#keys = keys;
    this.#seen = keys.map((key) => histories.of(key));
  }

  /** Stays true once it is true. A history unknown at first counts from when it becomes known. */
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
