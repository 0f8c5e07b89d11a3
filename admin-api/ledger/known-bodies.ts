import type { ResultBody } from '../../protocol/index.ts';

/** Bodies kept, and the longest one, bytes. */
const KEPT = 64;
const LONGEST = 256;

/**
 * Bodies of results that were read lately, by their bytes. All devices of a group command tend to say the
 * same, so each body is decoded once. Nobody may change what is kept: results share it.
 */
export class KnownBodies {
  readonly #bytes: (Uint8Array | undefined)[] = new Array(KEPT).fill(undefined);
  readonly #bodies: (ResultBody | undefined)[] = new Array(KEPT).fill(undefined);

  find(bytes: Uint8Array): ResultBody | undefined {
    const place = placeOf(bytes);
    const known = this.#bytes[place];
    return known !== undefined && Buffer.compare(known, bytes) === 0 ? this.#bodies[place] : undefined;
  }

  keep(bytes: Uint8Array, body: ResultBody): void {
    if (bytes.length > LONGEST) return;
    const place = placeOf(bytes);
    // A copy: the bytes are a view into a whole batch.
    this.#bytes[place] = bytes.slice();
    this.#bodies[place] = body;
  }
}

/** By its length and its end, where most bodies differ. */
function placeOf(bytes: Uint8Array): number {
  const { length } = bytes;
  let hash = length;
  for (let i = Math.max(0, length - 8); i < length; i++) hash = Math.imul(hash, 31) + (bytes[i] as number);
  return (hash >>> 0) % KEPT;
}
