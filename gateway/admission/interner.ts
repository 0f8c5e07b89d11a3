/**
 * Keeps one copy of strings (and lists of them) that many devices share. Bounded: when full, it starts empty
 * again.
 */
export class Interner {
  readonly #limit: number;
  #texts = new Map<string, string>();
  #lists = new Map<string, string[]>();

  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  text(value: string): string {
    const known = this.#texts.get(value);
    if (known !== undefined) return known;
    if (this.#texts.size >= this.#limit) this.#texts = new Map();
    const flat = flatten(value);
    this.#texts.set(flat, flat);
    return flat;
  }

  list(values: readonly string[]): string[] {
    const key = values.join('\n');
    const known = this.#lists.get(key);
    if (known !== undefined) return known;
    if (this.#lists.size >= this.#limit) this.#lists = new Map();
    const list = values.map((value) => this.text(value));
    this.#lists.set(flatten(key), list);
    return list;
  }
}

/** A copy, because a substring of a decoded frame keeps the whole frame's text in memory. */
export function flatten(value: string): string {
  return Buffer.from(value).toString();
}
