import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Folders with our TypeScript: the areas between which import arrows hold. */
export const areas = [
  'protocol',
  'health',
  'bus',
  'gateway',
  'admin-api',
  'tunnel',
  'device',
  'cli',
  'console',
  'bench',
  'test',
  'scripts',
] as const;

/** All sources: path from the root (`bus/bus.ts`) to text, sorted by path. */
export async function readSources(root: string): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  for (const area of areas) {
    const names = await readdir(join(root, area), { recursive: true }).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return [] as string[];
        throw error;
      },
    );
    for (const name of names.sort()) {
      if (!/\.[mc]?tsx?$/.test(name)) continue;
      sources.set(`${area}/${name}`, await readFile(join(root, area, name), 'utf8'));
    }
  }
  return sources;
}
