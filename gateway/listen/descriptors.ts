/**
 * The file descriptors of this process. Connections that were accepted and never upgraded take some as well,
 * so they are counted where the kernel counts them. At the limit `accept` fails and uWebSockets.js spins:
 * nobody may get there.
 */
import { readFileSync, statSync } from 'node:fs';

/** Reading the limit takes a descriptor itself, so the last value stands when there is none. */
const LIMIT_AGE_MS = 1_000;

export class Descriptors {
  #limit = 1_024;
  #readAt = Number.NEGATIVE_INFINITY;

  /** How many may be open; a limit that is changed while the process runs is seen within a second. */
  get limit(): number {
    const now = performance.now();
    if (now - this.#readAt >= LIMIT_AGE_MS) {
      this.#readAt = now;
      this.#limit = readLimit() ?? this.#limit;
    }
    return this.#limit;
  }

  /**
   * How many are open, or 0 where that cannot be found out (not Linux, or a kernel before 6.2). Takes none
   * itself.
   */
  get used(): number {
    return statSync('/proc/self/fd', { throwIfNoEntry: false })?.size ?? 0;
  }
}

/**
 * Share of the descriptors that everything together takes when strangers take all they can: below where a
 * worker stops listening.
 */
const WITH_NEWCOMERS = 0.8;
/** However few descriptors are left, so many sockets may be on their way to trust. */
const FEWEST_NEWCOMERS = 8;

/**
 * How many sockets of strangers there may be, of `most`: half of the descriptors, and what others leave of
 * them.
 */
export function newcomersBound(
  descriptors: { limit: number; used: number },
  newcomers: number,
  most: number,
): number {
  const { limit, used } = descriptors;
  const left = used === 0 ? limit : Math.floor(limit * WITH_NEWCOMERS) - (used - newcomers);
  return Math.max(Math.min(FEWEST_NEWCOMERS, most), Math.min(most, Math.floor(limit / 2), left));
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
