/** The files of deploy/ as the tests read them. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));

/** Compiled tests may lie elsewhere; then it is the current directory. */
function findRoot(start: string): string {
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'deploy', 'systemd'))) return folder;
  }
  return process.cwd();
}

export function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Names of programs' settings in a text of environment variables: commented-out samples count as well. */
export function settingsIn(text: string): string[] {
  return [...text.matchAll(/^#?(?:Environment=)?([A-Z][A-Z0-9_]+)=/gm)].map((match) => match[1] as string);
}

/** Values of one key of a unit file, in order. */
export function unitValues(unit: string, key: string): string[] {
  return [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map((match) => match[1] as string);
}
