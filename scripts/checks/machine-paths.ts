import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Folders of the machines that we work on; nothing in the repository may depend on them. */
const machinePaths = /(?<![\w.-])\/(?:work|tmp\/pp|home\/\w+|root)\/\S*/;

/** Files of the repository, not yet committed ones included, that name such a folder. */
export async function findMachinePaths(root: string): Promise<string[]> {
  const list = await promisify(execFile)(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
    {
      cwd: root,
      maxBuffer: 1e8,
    },
  );
  const problems: string[] = [];
  for (const file of list.stdout.split('\0').filter((name) => name !== '')) {
    const text = await readFile(join(root, file), 'utf8').catch((error: NodeJS.ErrnoException) => {
      // Deleted and not yet committed; or a link to a folder.
      if (error.code === 'ENOENT' || error.code === 'EISDIR') return '';
      throw error;
    });
    for (const [index, line] of text.split('\n').entries()) {
      const match = machinePaths.exec(line);
      if (match !== null) problems.push(`${file}:${index + 1} names ${match[0]}`);
    }
  }
  return problems;
}
