import { existsSync, mkdirSync, statSync } from 'node:fs';
import { chmod, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Creates the folder, readable by its owner only; changes the mode of an existing one. */
export async function privateFolder(path: string): Promise<void> {
  makeFolder(path);
  await chmod(path, 0o700);
}

/**
 * Creates a folder and its parents, mode 0700; leaves existing ones unchanged. Not `recursive`: on a file
 * system that creates nothing (/proc), Node.js tries for ever.
 */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
    return;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path || existsSync(dirname(path))) throw error;
  }
  makeFolder(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

/** Syncs the folder of `path`, so that a rename in it survives a crash. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Replaces a file as a whole, mode 0600: after a crash, either the old or the new one exists. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const next = `${path}.new`;
  const file = await open(next, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
  await syncFolder(path);
}
