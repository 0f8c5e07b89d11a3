/**
 * Milliseconds since the Unix epoch by the machine's own clock, for comparing moments of different processes:
 * also where a fault has changed what `Date` tells a process.
 */
export function trueTime(): number {
  return performance.timeOrigin + performance.now();
}
