/** One test of a compiled test file, so that a proof takes no longer than it has to. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const IMPORT = "import { test } from 'uvu';";

/**
 * Path of a file beside the compiled one that plays the titled test alone; of files with another way to
 * register tests, all.
 */
export async function focusOn(dist: string, file: string, title: string): Promise<string> {
  const path = join(dist, 'test', `${file}.test.js`);
  const source = await readFile(path, 'utf8');
  const focused = `import { test as every } from 'uvu';
const test = Object.assign(
  (name, body) => (name === ${JSON.stringify(title)} ? every.only(name, body) : every(name, body)),
  every,
);
// What a failed test leaves open keeps nobody waiting.
every.after(() => setTimeout(() => process.exit(), 5_000).unref());`;
  const own = join(dist, 'test', `${file}.${title.replace(/[^a-zA-Z0-9]+/g, '-').slice(0, 80)}.js`);
  await writeFile(own, source.replace(IMPORT, focused));
  return own;
}
