import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Manifest {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
}

/** Dependencies without a line in README.md that contains the package's name as `code`. */
export async function findReadmeProblems(root: string): Promise<string[]> {
  const [readme, manifest] = await Promise.all([
    readFile(join(root, 'README.md'), 'utf8'),
    readFile(join(root, 'package.json'), 'utf8'),
  ]);
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(manifest) as Manifest;
  return Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies })
    .filter((name) => !readme.includes(`\`${name}\``))
    .map((name) => `README.md does not say what the dependency \`${name}\` is for`);
}
