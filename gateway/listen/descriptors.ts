/**
 * The file descriptors of this process. Accepted connections that are never upgraded use some as well, so the
 * kernel's count is used. At the limit `accept` fails and uWebSockets.js spins, so the worker must stay below
 * it.
 */
import { readFileSync, statSync } from 'node:fs';

/** Reading the limit takes a descriptor itself, so the last value is used when none is free. */
const LIMIT_AGE_MS = 1_000;

export class Descriptors {
  #limit = 1_024;
  #readAt = Number.NEGATIVE_INFINITY;

  /** Most open descriptors; a change of the limit at run time is noticed within a second. */
  get limit(): number {
    const now = performance.now();
    if (now - this.#readAt >= LIMIT_AGE_MS) {
      this.#readAt = now;
      this.#limit = readLimit() ?? this.#limit;
    }
    return this.#limit;
  }

  /**
   * Open descriptors, or 0 where the number is unavailable (not Linux, or a kernel before 6.2). Needs none
   * itself.
   */
  get used(): number {
    return statSync('/proc/self/fd', { throwIfNoEntry: false })?.size ?? 0;
  }
}

/**
 * Share of the descriptors in use when unauthenticated sockets use all they can: below the point where a
 * worker stops listening.
 */
const WITH_UNAUTHENTICATED = 0.8;
/**
 * Share that unauthenticated sockets always have, so that a worker admits at full speed until it is full.
 * Together with the share of a full worker, and the sockets that linger after a close frame, it stays below
 * the share at which a worker does not listen at all.
 */
const KEPT_FOR_UNAUTHENTICATED = 0.03;
/** Least number of unauthenticated sockets, however few descriptors there are. */
const FEWEST_UNAUTHENTICATED = 8;

/**
 * Most unauthenticated sockets, up to `most`: at most half of the descriptors, and what other uses leave of
 * them.
 */
export function unauthenticatedBound(
  descriptors: { limit: number; used: number },
  unauthenticatedSockets: number,
  most: number,
): number {
  const { limit, used } = descriptors;
  const left =
    used === 0 ? limit : Math.floor(limit * WITH_UNAUTHENTICATED) - (used - unauthenticatedSockets);
  const kept = Math.max(FEWEST_UNAUTHENTICATED, Math.floor(limit * KEPT_FOR_UNAUTHENTICATED));
  return Math.min(most, Math.max(kept, Math.min(Math.floor(limit / 2), left)));
}

function readLimit(): number | undefined {
  try {
    const line = readFileSync('/proc/self/limits', 'utf8').match(/^Max open files\s+(\S+)/m)?.[1];
    return line === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(line) || undefined;
  } catch {
    // No such file on this system, or no descriptor to read it with.
    return undefined;
  }
}
