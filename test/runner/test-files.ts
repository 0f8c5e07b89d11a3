import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface TestFile {
  /** Relative to `test/`, for example `bus/redis.test.ts`. */
  name: string;
  /** The compiled file. */
  path: string;
  /** Its arguments; none when absent. */
  args?: readonly string[];
  timeLimitMs: number;
}

/**
 * Test files of these folders of `test/` start whole deployments: they get longer, and begin before the
 * others.
 */
const LONG_FOLDERS = ['e2e', 'faults'];
const TIME_LIMIT_MS = 180_000;
const LONG_TIME_LIMIT_MS = 400_000;

/**
 * Test files by their sources, so that a compiled file whose source is gone does not run and one that was not
 * compiled is an error. With filters: those whose name contains one of them.
 */
export async function findTestFiles(
  sources: string,
  compiled: string,
  filters: readonly string[],
): Promise<TestFile[]> {
  const names = (await readdir(sources, { recursive: true }))
    .filter((name) => name.endsWith('.test.ts'))
    .filter((name) => filters.length === 0 || filters.some((filter) => name.includes(filter)))
    .sort();
  const files = names.map((name) => {
    const path = join(compiled, name.replace(/\.ts$/, '.js'));
    if (!existsSync(path)) throw new Error(`test/${name} is not compiled: npm run build`);
    const limit = readTimeLimit(readFileSync(join(sources, name), 'utf8'));
    return { name, path, timeLimitMs: limit ?? (isLong(name) ? LONG_TIME_LIMIT_MS : TIME_LIMIT_MS) };
  });
  return [...files.filter(({ name }) => isLong(name)), ...files.filter(({ name }) => !isLong(name))];
}

function isLong(name: string): boolean {
  return LONG_FOLDERS.some((folder) => name.startsWith(`${folder}/`));
}

/** Milliseconds, from a comment among the first lines of a test file: `// time limit: 120 s`. */
export function readTimeLimit(source: string): number | undefined {
  const head = source.split('\n', 10).join('\n');
  const match = /^\/\/ time limit: (\d+) s\b/m.exec(head);
  return match === null ? undefined : Number(match[1]) * 1_000;
}
