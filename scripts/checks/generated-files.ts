import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generatedFiles } from '../generated.ts';

/** Generated references that are out of date; `node dist/scripts/generate.js` renews them. */
export async function findStaleFiles(root: string): Promise<string[]> {
  const problems: string[] = [];
  for (const { file, generate } of generatedFiles) {
    const [expected, actual] = await Promise.all([
      generate(),
      readFile(join(root, file), 'utf8').catch(() => undefined),
    ]);
    if (actual === undefined) problems.push(`${file} is missing: node dist/scripts/generate.js`);
    else if (actual !== expected) problems.push(`${file} is out of date: node dist/scripts/generate.js`);
  }
  return problems;
}
