/** Bytes that look random and can be made again from a number: both ends know what must arrive. */
export class Pattern {
  #state: number;
  /** Bytes of the last word that were not taken. */
  #rest = Buffer.alloc(0);

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  take(bytes: number): Buffer {
    const missing = bytes - this.#rest.length;
    const words = missing > 0 ? new Uint32Array(Math.ceil(missing / 4)) : new Uint32Array(0);
    let state = this.#state;
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = state;
    }
    this.#state = state;
    const all = Buffer.concat([this.#rest, Buffer.from(words.buffer)]);
    this.#rest = all.subarray(bytes);
    return all.subarray(0, bytes);
  }
}

/** A whole number below `below`, from a generator of its own. */
export function randomNumbers(seed: number): (below: number) => number {
  const pattern = new Pattern(seed);
  return (below) => pattern.take(4).readUInt32LE() % below;
}
