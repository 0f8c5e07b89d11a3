/** Frames of the vectors, changed a little. */
import { fromHex, vectors } from './vectors-file.ts';

/** Below a limit, at random. */
export type Below = (limit: number) => number;

/** Every frame and order body that the vectors hold, good and bad. */
export const vectorFrames: readonly Uint8Array[] = [
  ...vectors.written.map((v) => v.hex),
  ...vectors.alsoRead.map((v) => v.hex),
  ...vectors.refused.map((v) => v.hex),
  ...vectors.bodies.map((v) => v.body),
  ...vectors.refusedBodies.map((v) => v.body),
  ...vectors.orders.map((v) => v.body),
  ...vectors.results.map((v) => v.body),
  ...vectors.refusedResultBodies.map((v) => v.body),
  ...vectors.statuses.map((v) => v.body),
  ...vectors.refusedStatusBodies.map((v) => v.body),
].map(fromHex);

export function mutateFrame(frame: Uint8Array, next: Below): Uint8Array {
  const bytes = [...frame];
  for (let changes = 1 + next(4); changes > 0; changes--) {
    const at = next(bytes.length + 1);
    switch (next(5)) {
      case 0:
        bytes[Math.min(at, Math.max(0, bytes.length - 1))] = next(256);
        break;
      case 1:
        bytes.splice(at, 0, next(256));
        break;
      case 2:
        bytes.splice(at, 1 + next(4));
        break;
      case 3:
        // The tags from c0 to df are where the types are.
        bytes.splice(at, 1, 0xc0 + next(32));
        break;
      default:
        bytes.splice(at, 0, ...bytes.slice(next(bytes.length + 1)).slice(0, 64));
    }
  }
  return Uint8Array.from(bytes);
}
