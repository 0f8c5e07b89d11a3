/** Imports nothing: it runs in whatever Node.js somebody has. */
const OLDEST = 20;

/** What to do about a Node.js that is too old; `null` when it is not. */
export function tooOld(version: string): string | null {
  if (Number.parseInt(version, 10) >= OLDEST) return null;
  return (
    `Pushpoint needs Node.js ${OLDEST} or later (22 or 24 on systems with glibc 2.38), and this is ` +
    `${version}: install a newer one.`
  );
}
