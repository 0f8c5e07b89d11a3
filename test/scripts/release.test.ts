import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { datedChangelog, mayFollow } from '../../scripts/release.ts';

const SCRIPT = fileURLToPath(new URL('../../scripts/release.js', import.meta.url));
const CHANGELOG = '# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.1.0 (2026-01-01)\n\n- First.\n';

/** A repository with a package of its own, whose checks do what `check` says. */
function withPackage(check: string, use: (folder: string, git: (...args: string[]) => string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'release-'));
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@example.net'];
  const git = (...args: string[]) =>
    execFileSync('git', [...identity, ...args], { cwd: folder, encoding: 'utf8' }).trim();
  try {
    const scripts = { check, test: 'true' };
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'small', version: '0.1.0', scripts }));
    writeFileSync(join(folder, 'CHANGELOG.md'), CHANGELOG);
    git('init', '--quiet', '--initial-branch', 'main');
    git('config', 'user.name', 'Test');
    git('config', 'user.email', 'test@example.net');
    git('add', '.');
    git('commit', '--quiet', '--message', 'First');
    git('tag', 'v0.1.0');
    use(folder, git);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function runRelease(folder: string, ...args: string[]): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...args], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { status, said: stdout + stderr };
}

test('the top section of the changelog becomes the entry of the version', () => {
  const text = datedChangelog(CHANGELOG, '0.2.0', '2026-12-24');
  assert.ok(text.startsWith('# Changelog\n\n## 0.2.0 (2026-12-24)\n\n- New.\n\n## 0.1.0 (2026-01-01)'));
  assert.match(datedChangelog('## 0.1.0\n- First.\n', '0.1.0', '2026-12-24'), '## 0.1.0 (2026-12-24)\n');
});

test('a changelog that has nothing new is refused', () => {
  for (const text of ['', '## Unreleased\n\n## 0.1.0\n- First.\n', '## 0.1.0 (2026-01-01)\n- First.\n']) {
    assert.throws(() => datedChangelog(text, '0.2.0', '2026-12-24'), /CHANGELOG\.md/);
  }
});

test('a version follows a smaller one, or itself while that was never released', () => {
  assert.ok(mayFollow('0.9.9', '0.10.0', true));
  assert.ok(mayFollow('0.1.0', '0.1.0', false));
  assert.not(mayFollow('0.1.0', '0.1.0', true));
  assert.not(mayFollow('0.2.0', '0.1.9', false));
});

test('a release is a commit, a tag and a tarball', () => {
  withPackage('true', (folder, git) => {
    const { status, said } = runRelease(folder, '0.2.0');
    assert.is(status, 0, said);
    assert.is(git('log', '-1', '--format=%s'), 'Release 0.2.0');
    assert.is(git('describe', '--tags'), 'v0.2.0');
    assert.is(git('status', '--porcelain', '--untracked-files=no'), '');
    assert.match(readFileSync(join(folder, 'CHANGELOG.md'), 'utf8'), /^## 0\.2\.0 \(\d{4}-\d\d-\d\d\)$/m);
    assert.ok(readdirSync(folder).includes('small-0.2.0.tgz'));
  });
});

test('a failed check, a changed tree, a wrong version or a dry run leaves everything unchanged', () => {
  for (const [check, version, flags, expected] of [
    ['false', '0.2.0', [], /not released/],
    ['true', '0.1.0', [], /v0\.1\.0 exists/],
    ['true', '0.0.9', [], /does not come after/],
    ['true', 'next', [], /Usage/],
    ['true', '0.2.0', ['--dry-run'], /would release small 0\.2\.0/],
  ] as const) {
    withPackage(check, (folder, git) => {
      const { status, said } = runRelease(folder, version, ...flags);
      assert.match(said, expected);
      assert.is(status === 0, flags.length > 0, said);
      assert.is(git('status', '--porcelain'), '');
      assert.is(git('tag', '--list'), 'v0.1.0');
    });
  }
  withPackage('true', (folder) => {
    writeFileSync(join(folder, 'CHANGELOG.md'), 'changed');
    assert.match(runRelease(folder, '0.2.0').said, /not committed/);
  });
});

test.run();
