/** Imports nothing, so that it runs in any Node.js. */
const OLDEST = [20, 19] as const;

/** What to do if Node.js is too old; `null` if it is not. */
export function tooOld(version: string): string | null {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return null;
  return (
    `Pushpoint needs Node.js ${OLDEST.join('.')} or later (22 or 24 on systems with glibc 2.38), ` +
    `and this is ${version}: install a newer one.`
  );
}
