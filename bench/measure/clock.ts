/**
 * Milliseconds of a clock that all processes of this machine share, for times taken in one and compared in
 * another.
 */
export function sharedNow(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6;
}

/**
 * How long nothing more may come before what is missing counts as lost, milliseconds. An order nobody
 * acknowledged is sent again after half of it.
 */
export const STILL_MS = 60_000;

/**
 * Long enough after the start of a server for what its start left in its heap to go, milliseconds: memory
 * without devices is read then.
 */
export const START_SETTLE_MS = 15_000;
