/**
 * Callbacks by topic, called soon after `announce` and never from inside it; announcements in one turn count
 * once.
 */
export class Hints {
  readonly #callbacks = new Map<string, Set<() => void>>();
  readonly #announced = new Set<string>();

  /** Returns a function that stops it. */
  on(topic: string, callback: () => void): () => void {
    // A function registered twice is two registrations, so each gets an entry of its own.
    const entry = () => callback();
    const callbacks = this.#callbacks.get(topic) ?? new Set();
    callbacks.add(entry);
    this.#callbacks.set(topic, callbacks);
    return () => {
      callbacks.delete(entry);
      if (callbacks.size === 0 && this.#callbacks.get(topic) === callbacks) this.#callbacks.delete(topic);
    };
  }

  announce(topic: string): void {
    if (!this.#callbacks.has(topic) || this.#announced.has(topic)) return;
    this.#announced.add(topic);
    setImmediate(() => {
      this.#announced.delete(topic);
      for (const callback of this.#callbacks.get(topic) ?? []) callback();
    });
  }

  clear(): void {
    this.#callbacks.clear();
  }
}
