import { clip } from '../clip.ts';

/** The last bytes of what a program printed, both streams together, in bounded memory. */
export class OutputTail {
  readonly #max: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#max = maxBytes;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk.length > this.#max ? chunk.subarray(chunk.length - this.#max) : chunk);
    this.#bytes += (this.#chunks.at(-1) as Buffer).length;
    while (this.#chunks.length > 1 && this.#bytes - (this.#chunks[0] as Buffer).length >= this.#max) {
      this.#bytes -= (this.#chunks.shift() as Buffer).length;
    }
    // Many small chunks would keep many buffers: join them now and then.
    if (this.#chunks.length > 64) this.#chunks = [Buffer.concat(this.#chunks)];
  }

  /** As UTF-8; a character cut in half at the beginning is left out, and so are NULs. */
  text(): string {
    const all = Buffer.concat(this.#chunks);
    let from = Math.max(0, all.length - this.#max);
    if (from > 0) while (from < all.length && ((all[from] as number) & 0xc0) === 0x80) from++;
    return clip(all.subarray(from).toString('utf8'));
  }
}
