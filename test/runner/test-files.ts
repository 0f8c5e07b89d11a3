import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface TestFile {
  /** Relative to `test/`, for example `bus/redis.test.ts`. */
  name: string;
  /** The compiled file. */
  path: string;
  timeLimitMs: number;
  /** Runs alone, after the others: it needs the whole machine. */
  serial: boolean;
}

/** Test files of these folders of `test/` run one at a time. */
const SERIAL_FOLDERS = ['e2e', 'faults'];
/** Those of these start whole sites, and get longer. */
const LONG_FOLDERS = ['e2e', 'faults'];
const TIME_LIMIT_MS = 120_000;
const LONG_TIME_LIMIT_MS = 300_000;

/**
 * Test files by their sources, so that a compiled file whose source is gone does not run and one that was not compiled
 * is an error. With filters: those whose name contains one of them.
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
  return names.map((name) => {
    const path = join(compiled, name.replace(/\.ts$/, '.js'));
    if (!existsSync(path)) throw new Error(`test/${name} is not compiled: npm run build`);
    const isIn = (folder: string) => name.startsWith(`${folder}/`);
    const usual = LONG_FOLDERS.some(isIn) ? LONG_TIME_LIMIT_MS : TIME_LIMIT_MS;
    const limit = readTimeLimit(readFileSync(join(sources, name), 'utf8'));
    return { name, path, serial: SERIAL_FOLDERS.some(isIn), timeLimitMs: limit ?? usual };
  });
}

/** Milliseconds, from a comment among the first lines of a test file: `// time limit: 120 s`. */
export function readTimeLimit(source: string): number | undefined {
  const head = source.split('\n', 10).join('\n');
  const match = /^\/\/ time limit: (\d+) s\b/m.exec(head);
  return match === null ? undefined : Number(match[1]) * 1_000;
}
