import type { BusPart } from '../bus.ts';

/** The state of each part of the bus, and since when. */
export class Parts {
  readonly #parts = new Map<string, BusPart>();

  /** `reason`: `null` when the part works. Returns whether the state changed. */
  set(name: BusPart['name'], place: string, server: string, reason: string | null): boolean {
    const key = `${name} ${place}`;
    const before = this.#parts.get(key);
    const ok = reason === null;
    const since = before?.ok === ok ? before.since : Date.now();
    this.#parts.set(key, { name, server, ok, since, ...(reason !== null && { reason }) });
    return before?.ok !== ok;
  }

  has(name: BusPart['name'], place: string): boolean {
    return this.#parts.has(`${name} ${place}`);
  }

  /** Forgets parts of `name` whose place is not among `places`. */
  keep(name: BusPart['name'], places: Iterable<string>): void {
    const kept = new Set([...places].map((place) => `${name} ${place}`));
    for (const key of this.#parts.keys()) {
      if (key.startsWith(`${name} `) && !kept.has(key)) this.#parts.delete(key);
    }
  }

  list(): BusPart[] {
    return [...this.#parts.values()];
  }
}
