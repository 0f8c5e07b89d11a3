import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runTool } from './run-tool.ts';

/**
 * CommonJS may `require` both packages: every Node.js in `engines` loads ES modules that way, which attw
 * cannot know. The resolution of Node.js 10 ignores `exports` and is not supported.
 */
const TYPES = ['--profile', 'node16', '--ignore-rules', 'cjs-resolves-to-esm', '--quiet'];

/** Problems of the two packages as npm would publish them. */
export async function findPackageProblems(root: string): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'packages-'));
  try {
    // Scripts would build again.
    const pack = ['pack', '--ignore-scripts', '--workspaces', '--include-workspace-root', '--json'];
    const { stdout } = await promisify(execFile)('npm', [...pack, '--pack-destination', folder], {
      cwd: root,
      maxBuffer: 16 * 1024 * 1024,
    });
    const problems: string[] = [];
    for (const { filename } of JSON.parse(stdout) as { filename: string }[]) {
      const tarball = join(folder, filename);
      problems.push(
        ...(await runTool(root, 'publint', ['--strict', tarball])),
        ...(await runTool(root, 'attw', [...TYPES, tarball])),
      );
    }
    return problems;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
