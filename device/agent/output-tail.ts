import { clip } from '../platform/clip.ts';

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

  /**
   * As UTF-8. Replacing invalid bytes does not exceed the limit; a character cut in half and NULs are left
   * out.
   */
  text(): string {
    const all = Buffer.concat(this.#chunks);
    const text = Buffer.from(clip(lastOf(all, this.#max).toString('utf8')));
    return lastOf(text, this.#max).toString('utf8');
  }
}

/** At most `max` bytes, without the rest of a character that begins before them. */
function lastOf(text: Buffer, max: number): Buffer {
  if (text.length <= max) return text;
  let from = text.length - max;
  while (from < text.length && ((text[from] as number) & 0xc0) === 0x80) from++;
  return text.subarray(from);
}
