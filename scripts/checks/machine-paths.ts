import { readTrackedFiles } from './tracked-files.ts';

/** Folders of our own machines; nothing in the repository may depend on them. */
const machinePaths = /(?<![\w.-])\/(?:work|tmp\/pp|home\/\w+|root)\/\S*/;

/** Lines of tracked files that name such a folder. */
export async function findMachinePaths(root: string): Promise<string[]> {
  const problems: string[] = [];
  for (const [file, text] of await readTrackedFiles(root)) {
    for (const [index, line] of text.split('\n').entries()) {
      const match = machinePaths.exec(line);
      if (match !== null) problems.push(`${file}:${index + 1} names ${match[0]}`);
    }
  }
  return problems;
}
