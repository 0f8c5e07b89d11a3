/** One clock for all programs of an installation. */

/**
 * One time for all programs of an installation, whatever their own clocks say: the clock of the Redis server
 * that keeps the receipts, or of the process when there is no Redis. Between measurements it follows the
 * monotonic clock, and small corrections never turn it back.
 */
export interface BusClock {
  /** Milliseconds since the Unix epoch; the process's own clock until the first measurement. */
  now(): number;
  /** How far the process's own clock is ahead of `now`, milliseconds; `null` before the first measurement. */
  aheadMs(): number | null;
}
