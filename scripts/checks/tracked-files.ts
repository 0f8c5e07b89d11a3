import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Text of every file of the repository that Git does not ignore, uncommitted ones included. */
export async function readTrackedFiles(root: string): Promise<Map<string, string>> {
  const list = await promisify(execFile)(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
    { cwd: root, maxBuffer: 1e8 },
  );
  const files = new Map<string, string>();
  for (const file of list.stdout.split('\0').filter((name) => name !== '')) {
    const text = await readFile(join(root, file), 'utf8').catch((error: NodeJS.ErrnoException) => {
      // A deleted file whose deletion is not committed yet; or a link to a folder.
      if (error.code === 'ENOENT' || error.code === 'EISDIR') return undefined;
      throw error;
    });
    if (text !== undefined) files.set(file, text);
  }
  return files;
}
