/** Milliseconds of a clock that all processes of this machine share, for times taken in one and compared in another. */
export function sharedNow(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6;
}
