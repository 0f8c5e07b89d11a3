/** Packages from npm that only tests use, kept between runs in the user's cache. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The folder `node_modules` with these packages, each as `name@version`; installed once, scripts not run. */
export async function npmPackages(name: string, packages: readonly string[]): Promise<string> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'pushpoint-tests');
  const kept = join(cache, name);
  if (existsSync(kept)) return join(kept, 'node_modules');
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, 'installing-'));
  try {
    writeFileSync(join(fresh, 'package.json'), '{"private":true}');
    const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--no-save'];
    await run('npm', ['install', ...flags, ...packages], { cwd: fresh });
    // Another run may have been faster.
    if (!existsSync(kept)) renameSync(fresh, kept);
    return join(kept, 'node_modules');
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
